glacier2 is stopped:
  metis_unit.stopped:
    - name: metis-glacier2.service

icegrid is stopped:
  metis_unit.stopped:
    - name: metis-icegrid.service
    - require:
      - metis_unit: glacier2 is stopped
