"""The page for people: plain HTML, CSS and JavaScript, served by the service."""
