"""The type of JSON objects and YAML mappings."""

from typing import Any, TypeAlias

# Any: the values have no type before a schema or a record of settings has checked them.
JsonObject: TypeAlias = dict[str, Any]
