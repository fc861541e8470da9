package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// maxKeys is how many keys of a folder are looked at.
const maxKeys = maxFiles

// bucketHost is a store that speaks S3's language.
type bucketHost struct{ *minio.Core }

// s3Settings say where stores are, from the environment and the files of AWS.
type s3Settings struct {
	endpoint *url.URL // nil for that of AWS
	region   string
}

func readS3Settings() (s s3Settings, err error) {
	config := os.Getenv("AWS_CONFIG_FILE")
	if config == "" {
		if home, err := os.UserHomeDir(); err == nil {
			config = filepath.Join(home, ".aws", "config")
		}
	}
	name := cmp.Or(os.Getenv("AWS_PROFILE"), "default")
	var profile *ini.Section
	if file, err := ini.LooseLoad(config); err == nil {
		if profile = file.Section("profile " + name); name == "default" && len(profile.Keys()) == 0 {
			profile = file.Section(name)
		}
	} else {
		profile = ini.Empty().Section(name)
	}
	s.region = cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), profile.Key("region").String())
	if endpoint := cmp.Or(os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"), profile.Key("endpoint_url").String()); endpoint != "" {
		s.endpoint, err = url.Parse(endpoint)
		if err != nil || s.endpoint.Host == "" || s.endpoint.Scheme != "https" && s.endpoint.Scheme != "http" {
			return s, fmt.Errorf("%w: the endpoint of S3, %s", ErrAddress, Plain(endpoint))
		}
	}
	return s, nil
}

// store returns the store that the environment names.
func (c *Client) store() (*bucketHost, error) {
	s, err := readS3Settings()
	if err != nil {
		return nil, err
	}
	key := fmt.Sprint(s.endpoint, s.region)
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.stores[key]; h != nil {
		return h, nil
	}
	host, lookup, secure := "s3.amazonaws.com", minio.BucketLookupAuto, true
	if s.endpoint != nil {
		host, lookup, secure = s.endpoint.Host, minio.BucketLookupPath, s.endpoint.Scheme == "https"
	} else if s.region == "" {
		s.region = "us-east-1"
	}
	core, err := minio.NewCore(host, &minio.Options{
		Creds:  credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}),
		Secure: secure, Transport: c.http.client.Transport, Region: s.region, BucketLookup: lookup, MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: the endpoint of S3: %w", ErrAddress, err)
	}
	h := &bucketHost{core}
	c.stores[key] = h
	return h, nil
}

// parseS3 reads an address, s3://bucket/key. The folder is the whole bucket.
func (c *Client) parseS3(address string) (folder *s3Folder, key string, err error) {
	scheme, rest, _ := strings.Cut(address, "://")
	bucket, key, _ := strings.Cut(rest, "/")
	key = strings.Trim(key, "/")
	if !strings.EqualFold(scheme, "s3") || bucket == "" || key != "" && !validName(key) {
		return nil, "", fmt.Errorf("%w: %s (s3://bucket/key)", ErrAddress, Plain(address))
	}
	h, err := c.store()
	return &s3Folder{c: c, host: h, bucket: bucket}, key, err
}

// openS3 finds a file in a bucket, or a folder.
func (c *Client) openS3(address string) (files.Folder, string, error) {
	folder, key, err := c.parseS3(address)
	if err != nil {
		return nil, "", err
	}
	if key != "" {
		dir, name := path.Split(key)
		folder.prefix = dir
		f, err := folder.Open(name)
		if err == nil {
			return folder, name, f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
		folder.prefix = key + "/"
	}
	names, err := folder.List(".")
	if err == nil && len(names) == 0 {
		err = absent(folder.Path("."))
	}
	return folder, "", err
}

// s3Folder are the objects of a bucket whose keys begin alike.
type s3Folder struct {
	c      *Client
	host   *bucketHost
	bucket string
	prefix string // "" or ending with a slash
}

func (f *s3Folder) Path(name string) string {
	if name == "." {
		name = ""
	}
	return strings.TrimSuffix("s3://"+f.bucket+"/"+f.prefix+name, "/")
}

func (f *s3Folder) List(below string) (names []string, err error) {
	prefix := f.prefix
	if below != "." {
		prefix += below + "/"
	}
	err = f.c.retry(f.Path(below), firstTries, func() (bool, error) {
		names = nil
		for o := range f.host.Client.ListObjects(f.c.ctx, f.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
			if o.Err != nil {
				return false, f.host.failed(f.c.ctx, o.Err)
			}
			if name := strings.TrimPrefix(o.Key, prefix); validName(name) && !strings.Contains(name, "/") {
				if names = append(names, name); len(names) > maxKeys {
					return false, fmt.Errorf("there are more than %d files", maxKeys)
				}
			}
		}
		return true, nil
	})
	slices.Sort(names)
	return names, err
}

func (f *s3Folder) Open(name string) (*files.File, error) {
	if !validName(name) {
		return nil, absent(f.Path("."))
	}
	file := &s3File{host: f.host, bucket: f.bucket, key: f.prefix + name, name: f.Path(name)}
	o, err := f.c.object(fmt.Sprint("s3 ", f.host.EndpointURL(), " ", file.bucket, "/", file.key), func() (*object, error) {
		return f.c.newObject(file.name, file, -1, "")
	})
	if err != nil {
		return nil, err
	}
	return files.NewFile(file.name, o), nil
}

// s3File is an object of a bucket.
type s3File struct {
	host              *bucketHost
	bucket, key, name string
}

func (f *s3File) get(ctx context.Context, from, to int64) (*part, error) {
	var opts minio.GetObjectOptions
	if err := opts.SetRange(from, to-1); err != nil {
		return nil, err
	}
	body, info, header, err := f.host.GetObject(ctx, f.bucket, f.key, opts)
	if err != nil {
		if status(err) == http.StatusRequestedRangeNotSatisfiable && from == 0 { // it is empty
			return &part{body: http.NoBody}, nil
		}
		if err = f.host.failed(ctx, err); errors.Is(err, fs.ErrNotExist) {
			err = absent(f.name)
		}
		return nil, err
	}
	resp := &http.Response{StatusCode: http.StatusPartialContent, Header: header, ContentLength: -1, Request: &http.Request{URL: f.host.EndpointURL()}}
	if header.Get("Content-Range") == "" {
		resp.StatusCode, resp.ContentLength = http.StatusOK, info.Size
	}
	size, err := checkPart(resp, from, to)
	if err != nil {
		_ = body.Close()
		return nil, err
	}
	return &part{body, size, info.ETag}, nil
}

func status(err error) int { return minio.ToErrorResponse(err).StatusCode }

// failed returns an error of the store without keys, and whether it passes.
func (h *bucketHost) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	answer := minio.ToErrorResponse(err)
	what := plainURL(h.EndpointURL())
	if answer.StatusCode == 0 { // none came
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return &passingError{err: &networkError{what, err.Error()}}
	}
	what = fmt.Sprintf("%s answers %d (%.100s)", what, answer.StatusCode, answer.Code)
	switch {
	case answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrAccess, what)
	case passes(answer.StatusCode):
		return &passingError{err: errors.New(what)}
	}
	return errors.New(what)
}
