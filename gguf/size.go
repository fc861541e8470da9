package gguf

// Elements returns how many elements all tensors of a model have together.
func Elements(src Source) (n int64) {
	for _, t := range src.Tensors() {
		n += t.Elements()
	}
	return n
}

// BitsPerWeight returns the mean over the elements of all tensors. Metadata and padding do not count.
func BitsPerWeight(src Source) float64 {
	bytes := int64(0)
	for _, t := range src.Tensors() {
		bytes += t.Bytes()
	}
	return 8 * float64(bytes) / float64(max(1, Elements(src)))
}
