"""The main job, played over a generated population."""
