package gguf

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
