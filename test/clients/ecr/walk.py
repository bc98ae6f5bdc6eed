"""Uses the ECR API with boto3. Ends with an error if something is not as ECR does it."""
import hashlib
import os
import urllib.request

import boto3

REPOSITORY = "alice/shop"
ecr = boto3.client("ecr")

names = [r["repositoryName"] for page in ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2}) for r in page["repositories"]]
assert names == sorted(names) and REPOSITORY in names, names

pages = ecr.get_paginator("describe_images").paginate(repositoryName=REPOSITORY, PaginationConfig={"PageSize": 1})
details = [image for page in pages for image in page["imageDetails"]]
assert any("v1" in image.get("imageTags", []) for image in details), details
assert all(image["imageSizeInBytes"] > 0 and image["imagePushedAt"] for image in details), details

got = ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "v1"}, {"imageTag": "nil"}])
assert got["failures"][0]["failureCode"] == "ImageNotFound", got
image = got["images"][0]
assert "sha256:" + hashlib.sha256(image["imageManifest"].encode()).hexdigest() == image["imageId"]["imageDigest"]

put = ecr.put_image(repositoryName=REPOSITORY, imageManifest=image["imageManifest"], imageTag="stable", imageManifestMediaType=image["imageManifestMediaType"])
assert put["image"]["imageId"] == {"imageDigest": image["imageId"]["imageDigest"], "imageTag": "stable"}, put
try:
    ecr.put_image(repositoryName=REPOSITORY, imageManifest=image["imageManifest"], imageTag="stable", imageManifestMediaType=image["imageManifestMediaType"])
    raise AssertionError("the same image and tag were put twice")
except ecr.exceptions.ImageAlreadyExistsException:
    pass

# A layer of 6 MB in two parts: the first has the minimum size of 5 MiB.
layer = os.urandom(6_000_000)
digest = "sha256:" + hashlib.sha256(layer).hexdigest()
missing = ecr.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=[digest])
assert missing["layers"][0]["layerAvailability"] == "UNAVAILABLE", missing
upload = ecr.initiate_layer_upload(repositoryName=REPOSITORY)["uploadId"]
first = 5 * 1024 * 1024
for begin, end in ((0, first), (first, len(layer))):
    sent = ecr.upload_layer_part(repositoryName=REPOSITORY, uploadId=upload, partFirstByte=begin, partLastByte=end - 1, layerPartBlob=layer[begin:end])
    assert sent["lastByteReceived"] == end - 1, sent
done = ecr.complete_layer_upload(repositoryName=REPOSITORY, uploadId=upload, layerDigests=[digest])
assert done["layerDigest"] == digest, done
there = ecr.batch_check_layer_availability(repositoryName=REPOSITORY, layerDigests=[digest])
assert there["layers"][0]["layerAvailability"] == "AVAILABLE" and there["layers"][0]["layerSize"] == len(layer), there
try:
    ecr.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=digest)
    raise AssertionError("a layer of no image has a download URL")
except ecr.exceptions.LayerInaccessibleException:
    pass

import json

manifest = json.loads(image["imageManifest"])
known = manifest["layers"][0]["digest"]
url = ecr.get_download_url_for_layer(repositoryName=REPOSITORY, layerDigest=known)["downloadUrl"]
body = urllib.request.urlopen(url).read()
assert "sha256:" + hashlib.sha256(body).hexdigest() == known
part = urllib.request.urlopen(urllib.request.Request(url, headers={"Range": "bytes=0-9"}))
assert part.status == 206 and part.read() == body[:10]

deleted = ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageTag": "stable"}])
assert deleted["imageIds"][0]["imageTag"] == "stable", deleted
