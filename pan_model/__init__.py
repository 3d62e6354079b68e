"""PAN, the pairwise attribute-informed similarity network (Mishra et al., ICCV 2021), as a plain torch library."""
