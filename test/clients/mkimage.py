#!/usr/bin/env python3
"""Write an OCI image layout with N layers of given sizes of pseudo-random data (python3 stdlib only).

  mkimage.py OUT --layers 64K,1M,8M --seed 7 --tag v1
  mkimage.py OUT --layers 4x16M                       # NxSIZE repeats a layer size
  mkimage.py OUT --layers 1M,1M --shared 1 --seed 2   # first layer depends on --shared-seed only
  mkimage.py OUT --layers 1M --platforms linux/amd64,linux/arm64   # image index
  mkimage.py OUT --layers 1M --append --tag v2        # add an image to an existing layout
  mkimage.py OUT --layers 1M --file /bin/busybox=bin/sh --cmd /bin/sh   # runnable

The same arguments give byte-identical output (same python/zlib for gzip; always with
--compression none). OUT also gets a manifest.json, so `tar -C OUT -cf - . | docker load` works,
with dockerd older than 25 too (single-platform images only); --no-docker leaves it out.
Prints one JSON object: the root digest and size, and each blob's digest and size.

A layer is a tar of one file layerNN.bin of the given size, split by --files into more files.
Random data does not compress: the blob is the given size plus a few KiB.
"""
import argparse
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import sys
import tarfile

UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
CHUNK = 1 << 20
OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
REF_NAME = "org.opencontainers.image.ref.name"
EPOCH = "1970-01-01T00:00:00Z"


def parse_sizes(text):
    out = []
    for part in text.split(","):
        m = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([KMGB]?)(?:i?B)?", part.strip(), re.I)
        if not m:
            raise argparse.ArgumentTypeError(f"bad size {part!r} (want e.g. 512K, 3x16M, 1.5G)")
        out += [int(float(m[2]) * UNITS[m[3].upper()])] * int(m[1] or 1)
    return out


class RandomReader:
    """A file object of `size` pseudo-random bytes, made as it is read."""

    def __init__(self, seed, size):
        self.rng, self.left, self.buf = random.Random(seed), size, b""

    def read(self, n=-1):
        if n < 0:
            n = self.left
        out = []
        want = min(n, self.left)
        self.left -= want
        while want:
            if not self.buf:
                self.buf = self.rng.randbytes(CHUNK)
            piece, self.buf = self.buf[:want], self.buf[want:]
            want -= len(piece)
            out.append(piece)
        return b"".join(out)


class HashingWriter:
    def __init__(self, raw):
        self.raw, self.hash, self.size = raw, hashlib.sha256(), 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.raw.write(data)

    def flush(self):
        self.raw.flush()

    def digest(self):
        return "sha256:" + self.hash.hexdigest()


def add_extra_files(tar, extra):
    dirs = set()
    for src, dst in extra:
        parts = dst.strip("/").split("/")
        for i in range(1, len(parts)):
            d = "/".join(parts[:i])
            if d not in dirs:
                dirs.add(d)
                ti = tarfile.TarInfo(d)
                ti.type, ti.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(ti)
        ti = tarfile.TarInfo("/".join(parts))
        ti.size, ti.mode = os.path.getsize(src), 0o755
        with open(src, "rb") as s:
            tar.addfile(ti, s)


def add_random_files(tar, seed, size, index, nfiles):
    base, rest = divmod(size, nfiles)
    for n in range(nfiles):
        fsize = base + (rest if n == nfiles - 1 else 0)
        ti = tarfile.TarInfo(f"layer{index:02d}" + (f".{n:04d}" if nfiles > 1 else "") + ".bin")
        ti.size, ti.mode = fsize, 0o644
        tar.addfile(ti, RandomReader(f"{seed}:{index}:{n}", fsize))


class Layout:
    def __init__(self, out):
        self.blobs = os.path.join(out, "blobs", "sha256")
        os.makedirs(self.blobs, exist_ok=True)

    def put_bytes(self, data):
        d = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.blobs, d), "wb") as f:
            f.write(data)
        return "sha256:" + d, len(data)

    def put_json(self, obj):
        return self.put_bytes(json.dumps(obj, separators=(",", ":")).encode())

    def put_layer(self, seed, size, index, compression, level, nfiles, extra):
        """-> (digest, size, diff_id)"""
        tmp = os.path.join(self.blobs, f".tmp-{os.getpid()}-{index}")
        with open(tmp, "wb") as f:
            outer = HashingWriter(f)
            if compression == "gzip":
                gz = gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=outer, mtime=0)
                inner = HashingWriter(gz)
            else:
                gz, inner = None, outer
            fmt = tarfile.USTAR_FORMAT if size < 8 << 30 else tarfile.GNU_FORMAT
            with tarfile.open(fileobj=inner, mode="w|", format=fmt, bufsize=CHUNK) as tar:
                add_extra_files(tar, extra)
                add_random_files(tar, seed, size, index, nfiles)
            if gz:
                gz.close()
        os.replace(tmp, os.path.join(self.blobs, outer.digest()[7:]))
        return outer.digest(), outer.size, inner.digest()


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--layers", type=parse_sizes, default=parse_sizes("64K,256K,1M"))
    p.add_argument("--seed", default="0", help="any string; the data depends on it")
    p.add_argument("--shared", type=int, default=0, help="how many first layers use --shared-seed")
    p.add_argument("--shared-seed", default="shared")
    p.add_argument("--tag", default="latest")
    p.add_argument("--append", action="store_true", help="add to the layout instead of replacing it")
    p.add_argument("--compression", choices=["gzip", "none"], default="gzip")
    p.add_argument("--level", type=int, default=0,
                   help="gzip level; 0, the default, stores: random data does not compress, and 1 takes twice as long")
    p.add_argument("--files", type=int, default=1, help="files per layer")
    p.add_argument("--file", action="append", default=[], metavar="SRC=DST",
                   help="also put this file in the first layer")
    p.add_argument("--cmd", help="the image's command (space separated)")
    p.add_argument("--platforms", default="linux/amd64", help="more than one: an image index, its own data for each")
    p.add_argument("--types", choices=["oci", "docker"], default="oci",
                   help="media types; layouts of docker types are read by crane and oras, not by skopeo")
    p.add_argument("--no-media-type", action="store_true",
                   help="leave the manifest's own mediaType field out (as podman 4 does)")
    p.add_argument("--annotation", action="append", default=[], metavar="K=V")
    p.add_argument("--no-docker", action="store_true", help="no manifest.json for docker load")
    return p.parse_args()


def main():
    a = parse_args()
    if not a.append and os.path.isdir(a.out):
        if os.listdir(a.out) and not os.path.exists(os.path.join(a.out, "oci-layout")):
            sys.exit(f"{a.out}: not empty and not an OCI layout; left alone")
        shutil.rmtree(a.out)
    lay = Layout(a.out)
    docker = a.types == "docker"
    t_manifest = DOCKER + "distribution.manifest.v2+json" if docker else OCI + "manifest.v1+json"
    t_index = DOCKER + "distribution.manifest.list.v2+json" if docker else OCI + "index.v1+json"
    t_config = DOCKER + "container.image.v1+json" if docker else OCI + "config.v1+json"
    gz = a.compression == "gzip"
    if docker:
        t_layer = DOCKER + "image.rootfs.diff.tar" + (".gzip" if gz else "")
    else:
        t_layer = OCI + "layer.v1.tar" + ("+gzip" if gz else "")
    extra = [tuple(f.split("=", 1)) for f in a.file]
    annotations = dict(x.split("=", 1) for x in a.annotation)
    platforms = [x.strip() for x in a.platforms.split(",")]

    images, docker_entries = [], []
    for plat in platforms:
        os_, arch, *variant = plat.split("/")
        layers, diff_ids = [], []
        for i, size in enumerate(a.layers):
            seed = a.shared_seed if i < a.shared else (a.seed if len(platforms) == 1 else f"{a.seed}:{plat}")
            d, s, diff = lay.put_layer(seed, size, i, a.compression, a.level, a.files, [] if i else extra)
            layers.append({"mediaType": t_layer, "digest": d, "size": s})
            diff_ids.append(diff)
        config = {"created": EPOCH, "architecture": arch, "os": os_,
                  "config": {"Env": ["PATH=/bin"], "Labels": {"mkimage.seed": a.seed}},
                  "rootfs": {"type": "layers", "diff_ids": diff_ids},
                  "history": [{"created": EPOCH, "created_by": f"mkimage layer {i}"} for i in range(len(layers))]}
        if variant:
            config["variant"] = variant[0]
        if a.cmd:
            config["config"]["Cmd"] = a.cmd.split()
        cd, cs = lay.put_json(config)
        man = {"schemaVersion": 2, "mediaType": t_manifest,
               "config": {"mediaType": t_config, "digest": cd, "size": cs}, "layers": layers}
        if annotations:
            man["annotations"] = annotations
        if a.no_media_type:
            del man["mediaType"]
        md, ms = lay.put_json(man)
        pl = {"architecture": arch, "os": os_}
        if variant:
            pl["variant"] = variant[0]
        images.append({"mediaType": t_manifest, "digest": md, "size": ms, "platform": pl})
        docker_entries.append({"Config": "blobs/sha256/" + cd[7:], "RepoTags": [f"mkimage:{a.tag}"],
                               "Layers": ["blobs/sha256/" + x["digest"][7:] for x in layers]})
        last = {"digest": md, "size": ms, "config": {"digest": cd, "size": cs},
                "layers": [dict(x, diff_id=y) for x, y in zip(layers, diff_ids)]}

    if len(images) > 1:
        idx = {"schemaVersion": 2, "mediaType": t_index, "manifests": images}
        if annotations:
            idx["annotations"] = annotations
        d, s = lay.put_json(idx)
        root = {"mediaType": t_index, "digest": d, "size": s}
        report = {"digest": d, "size": s, "mediaType": t_index, "manifests": images}
    else:
        root = {k: images[0][k] for k in ("mediaType", "digest", "size")}
        report = dict(last, mediaType=t_manifest)
    # the second is the name that containerd (ctr import, docker load with the containerd store) gives it
    root["annotations"] = {REF_NAME: a.tag, "io.containerd.image.name": f"docker.io/library/mkimage:{a.tag}"}

    index_path = os.path.join(a.out, "index.json")
    entries, docker_path = [], os.path.join(a.out, "manifest.json")
    docker_all = []
    if a.append and os.path.exists(index_path):
        with open(index_path) as f:
            entries = [m for m in json.load(f)["manifests"] if m.get("annotations", {}).get(REF_NAME) != a.tag]
        if os.path.exists(docker_path):
            with open(docker_path) as f:
                docker_all = [m for m in json.load(f) if m["RepoTags"] != [f"mkimage:{a.tag}"]]
    with open(index_path, "w") as f:
        json.dump({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": entries + [root]}, f)
    with open(os.path.join(a.out, "oci-layout"), "w") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    if not a.no_docker and len(images) == 1:
        with open(docker_path, "w") as f:
            json.dump(docker_all + docker_entries, f)
    print(json.dumps(dict(report, tag=a.tag, out=a.out)))


if __name__ == "__main__":
    main()
