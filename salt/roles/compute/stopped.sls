{%- from "roles/fighter/instances.jinja" import stopped with context %}
{{ stopped("compute") }}
