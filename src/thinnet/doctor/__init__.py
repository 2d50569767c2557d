"""An installation: `thinnet --version`, `thinnet doctor` and `thinnet build`. They need torch alone."""
