# Everything that this host is made of. What `metis.stop` stopped stays stopped.
include:
{%- for role in pillar.metis.roles %}
  - roles.{{ role }}
{%- endfor %}
