"""What is done to uploads for privacy before they leave a client, and to their mean at the server."""
