# Everything that this host is made of. What `metis.stop` stopped stays stopped.
# A host that has left its organization is made of nothing.
include:
{%- for role in pillar.metis.roles %}
  - roles.{{ role }}
{%- else %} []
{%- endfor %}
