"""Scripts of the people who work on chappie, and what their tests share with them."""
