"""Prints the inputs of the ECR API with their constraints, from the model in the installed botocore.

`python3 test/clients/ecr/model.py > test/http/ecr/model.json` writes the file that a test compares with the schemas. With a
file as argument, it ends with an error if an operation of the file is not in the installed botocore, or differs there.
"""
import gzip
import json
import pathlib
import sys

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
if len(sys.argv) == 1:
    print(json.dumps(operations, separators=(",", ":"), sort_keys=True))
else:
    stored = json.loads(pathlib.Path(sys.argv[1]).read_text())
    # An older botocore has fewer operations than the file.
    differing = [name for name in operations if operations[name] != stored.get(name)]
    sys.exit(f"the model differs in {', '.join(differing)}" if differing else 0)
