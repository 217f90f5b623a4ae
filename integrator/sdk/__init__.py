"""What users import: the registry owner, the agency, the citizen."""
