package remote

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"

	"github.com/minio/minio-go/v7"
)

// Bucket is a folder of a bucket into which files can be put.
type Bucket struct{ *s3Folder }

// Bucket returns what an address, s3://bucket/folder, names. The folder need not be there, but the bucket must: if it is not, the error
// wraps fs.ErrNotExist.
func (c *Client) Bucket(address string) (*Bucket, error) {
	folder, key, err := c.parseS3(address)
	if err != nil {
		return nil, err
	}
	if key != "" {
		folder.prefix = key + "/"
	}
	there := false
	err = c.retry(folder.Path("."), firstTries, func() (bool, error) {
		var err error
		if there, err = folder.host.BucketExists(c.ctx, folder.bucket); err != nil {
			err = folder.host.failed(c.ctx, err)
		}
		return false, err
	})
	if err == nil && !there {
		err = fmt.Errorf("%w: there is no such bucket", absent(folder.Path(".")))
	}
	return &Bucket{folder}, err
}

// Put writes a file, which appears whole or not at all, and replaces one of the name. A Client that has read that may still read
// what it was.
func (b *Bucket) Put(name string, data []byte) error {
	if !validName(name) {
		return &fs.PathError{Op: "write", Path: b.Path(name), Err: fs.ErrInvalid}
	}
	sum := md5.Sum(data) // by which the store knows whether all came
	return b.c.retry(b.Path(name), maxTries, func() (bool, error) {
		_, err := b.host.PutObject(b.c.ctx, b.bucket, b.prefix+name, bytes.NewReader(data), int64(len(data)),
			base64.StdEncoding.EncodeToString(sum[:]), "", minio.PutObjectOptions{DisableContentSha256: true})
		if err != nil {
			err = b.host.failed(b.c.ctx, err)
		}
		return false, err
	})
}

// Remove removes a file, if it is there.
func (b *Bucket) Remove(name string) error {
	return b.c.retry(b.Path(name), firstTries, func() (bool, error) {
		err := b.host.RemoveObject(b.c.ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{})
		if err != nil {
			if err = b.host.failed(b.c.ctx, err); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
		return false, err
	})
}
