"""The steps of the road, one file each. `interceptors.road` puts them in order."""
