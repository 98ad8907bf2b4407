// Draws the interface's description; nothing is asked of other servers.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: false, validatorUrl: null });
