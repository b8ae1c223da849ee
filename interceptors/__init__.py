"""The road of a call: reusable interceptors that enforce the policy which the contract declares."""
