"""How a policy and its tools take turns. Ray-free; the policy is handed in."""
