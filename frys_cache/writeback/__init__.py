"""Write-back: what waits to be sent, what survives of it, and how it is sent."""
