package infer

// Shape is the sizes of a model that decide how much memory running it takes
// beside its weights.
type Shape struct {
	Layers           int
	Width            int // of the residual stream
	Hidden           int // width of the feed-forward network, or of all experts of a token together
	Heads            int
	KVHeads          int
	KeyLen, ValueLen int // elements of a key or value head
	Vocabulary       int
}

// Shape returns the sizes of the model.
func (m *Model) Shape() Shape {
	return Shape{
		Layers: m.blocks, Width: m.width, Hidden: max(m.widest(), m.expertsUsed*m.expertHidden),
		Heads: m.heads, KVHeads: m.kvHeads, KeyLen: m.keyLen, ValueLen: m.valueLen, Vocabulary: m.Vocabulary(),
	}
}
