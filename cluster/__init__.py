"""Ray clusters for studies: the files that `ray up` and KubeRay read, and the check of such files in `check/`."""
