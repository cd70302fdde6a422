"""One file per method: citation, settings, modules, registration. A new file needs no other edit."""
