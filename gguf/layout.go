package gguf

import "crypto/sha256"

// Layout says where Write puts things when it writes src as one file: the
// offset of every tensor's data from the start of the file, and the size of
// the file. It reads no tensor data.
func Layout(src Source) (offsets []int64, size int64, err error) {
	_, offsets, err = encodeHeader(src.Metadata(), src.Tensors())
	if err != nil {
		return nil, 0, err
	}
	last := len(offsets) - 1
	return offsets[:last], offsets[last], nil
}

// HeaderDigest returns the SHA-256 sum of what Write puts before the data of src's tensors: its metadata, and the
// names, types and shapes of its tensors.
func HeaderDigest(src Source) (Digest, error) {
	head, _, err := encodeHeader(src.Metadata(), src.Tensors())
	return sha256.Sum256(head), err
}
