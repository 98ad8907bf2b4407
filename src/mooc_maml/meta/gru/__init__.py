"""The fast task model of the GRU: gradient and Hessian-vector product by hand."""
