"""Steps as jobs of a Ray that spans several workstations; the run workers stay on the control host."""
