// Pushes a blob in one request, and reads it as the stargz snapshotter does when it pulls lazily: chunks here and there, and then all that is still missing,
// which its own fetcher asks for with several ranges in one request.
//
// usage: stargz HOST:PORT REPOSITORY FILE   (REGISTRY_USERNAME and REGISTRY_PASSWORD in the environment)
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/stargz-snapshotter/cache"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/remote"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const chunkSize = 4096

// watched authenticates requests and records the answers to requests with several ranges.
type watched struct {
	several []string
}

func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if user := os.Getenv("REGISTRY_USERNAME"); user != "" {
		req.SetBasicAuth(user, os.Getenv("REGISTRY_PASSWORD"))
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && strings.Contains(req.Header.Get("Range"), ",") {
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		w.several = append(w.several, fmt.Sprintf("%d %s", res.StatusCode, kind))
	}
	return res, err
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(host, repository, file string) error {
	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	transport := &watched{}
	blobDigest := digest.FromBytes(want)
	if err := push(transport, fmt.Sprintf("http://%s/v2/%s/blobs/uploads/?digest=%s", host, repository, blobDigest), want); err != nil {
		return err
	}
	hosts := func(reference.Spec) ([]docker.RegistryHost, error) {
		return []docker.RegistryHost{{
			Client: &http.Client{Transport: transport}, Host: host, Scheme: "http", Path: "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}}, nil
	}
	spec, err := reference.Parse(host + "/" + repository + ":v1")
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{Digest: blobDigest, Size: int64(len(want))}
	resolver := remote.NewResolver(config.BlobConfig{ChunkSize: chunkSize}, nil)
	// One chunk in three is read first. The gaps between them are as many ranges. The registry sends up to 32 parts.
	for _, ranges := range []int{2, 20, 31} {
		blob, err := resolver.Resolve(context.Background(), hosts, spec, desc, cache.NewMemoryCache())
		if err != nil {
			return err
		}
		for n := 1; n <= ranges; n++ {
			if err := compare(blob, want, int64(3*n-1)*chunkSize, 10); err != nil {
				return err
			}
		}
		before := len(transport.several)
		if err := compare(blob, want, 0, int64(3*ranges+2)*chunkSize); err != nil {
			return err
		}
		if got := transport.several[before:]; len(got) != 1 || got[0] != "206 multipart/byteranges" {
			return fmt.Errorf("%d ranges were answered %q", ranges, got)
		}
	}
	fmt.Println("read with", len(transport.several), "requests of several ranges")
	return nil
}

func push(transport http.RoundTripper, url string, content []byte) error {
	req, err := http.NewRequest("POST", url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("the push was answered %s", res.Status)
	}
	return nil
}

func compare(blob remote.Blob, want []byte, offset, length int64) error {
	got := make([]byte, length)
	n, err := blob.ReadAt(got, offset)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:n], want[offset:offset+int64(n)]) || int64(n) != length {
		return fmt.Errorf("other bytes at %d", offset)
	}
	return nil
}
