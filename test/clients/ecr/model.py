"""Prints the inputs of the ECR API with their constraints, from the model in the installed botocore.

`python3 test/clients/ecr/model.py > test/http/ecr/model.json` writes the file that a test compares with the schemas.
"""
import gzip
import json
import pathlib

import botocore

path = pathlib.Path(botocore.__file__).parent / "data/ecr/2015-09-21/service-2.json.gz"
model = json.loads(gzip.decompress(path.read_bytes()))
shapes = model["shapes"]


def constraints(name):
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        members = {key: constraints(member["shape"]) for key, member in sorted(shape["members"].items())}
        return {"type": "object", "required": sorted(shape.get("required", [])), "members": members}
    limits = {key: shape[key] for key in ("min", "max", "pattern", "enum") if key in shape}
    if kind == "list":
        return {"type": "array", **limits, "items": constraints(shape["member"]["shape"])}
    names = {"string": "string", "boolean": "boolean", "integer": "integer", "long": "integer", "blob": "string"}
    return {"type": names[kind], **limits}


operations = {name: constraints(one["input"]["shape"]) for name, one in sorted(model["operations"].items())}
print(json.dumps(operations, separators=(",", ":"), sort_keys=True))
