The consul server is stopped:
  metis_unit.stopped:
    - name: metis-consul.service
