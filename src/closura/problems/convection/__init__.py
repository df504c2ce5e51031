"""Free convection into a stratified fluid: columns of layers against a two-dimensional flow."""
