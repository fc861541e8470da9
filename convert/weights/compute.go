package weights

// Compute returns a tensor of what read gives for n rows from row first on, rounded to
// dtype, or to F32 where that is none of F32, F16 and BF16. It is made of operands.
func Compute(shape []int64, dtype Dtype, grain int64, read func(dst []float32, first, n int64) error, operands ...Rows) Rows {
	return compute(shape, dtype, grain, read, operands...)
}

func compute(shape []int64, dtype Dtype, grain int64, read func(dst []float32, first, n int64) error, operands ...Rows) *computed {
	if _, ok := dtype.GGUF(); !ok {
		dtype = F32
	}
	return &computed{shape: shape, dtype: dtype, grain: grain, read: read, operands: operands}
}

// Map returns the tensor with its values changed by f, which is called with those of
// whole rows: in float16 if that is its type, as PyTorch computes, or else in float32.
// back is the reverse of f, for [Inverse]; it may be nil.
func Map(r Rows, f, back func(values []float32)) Rows {
	dtype := F32
	if r.Dtype() == F16 {
		dtype = F16
	}
	c := mapped(r, dtype, f)
	if back != nil {
		c.undo = func(result Rows) []Rows { return []Rows{mapped(result, F32, back)} }
	}
	return c
}

func mapped(r Rows, dtype Dtype, f func(values []float32)) *computed {
	return compute(r.Shape(), dtype, r.Grain(), func(dst []float32, first, n int64) error {
		if err := r.ReadRows(dst, first, n); err != nil {
			return err
		}
		f(dst)
		return nil
	}, r)
}

// Extend returns a matrix with so many rows, those behind its own of zeros.
func Extend(r Rows, rows int64) Rows {
	has, length := Count(r.Shape())
	c := compute([]int64{rows, length}, r.Dtype(), r.Grain(), func(dst []float32, first, n int64) error {
		some := max(0, min(n, has-first))
		clear(dst[some*length:])
		if some == 0 {
			return nil
		}
		return r.ReadRows(dst[:some*length], first, some)
	}, r)
	c.undo = func(result Rows) []Rows { return []Rows{Slice(result, 0, has)} }
	return c
}

// Values returns a tensor of the given values, rounded to dtype: one of F32, F16 and
// BF16.
func Values(dtype Dtype, values []float32, shape ...int64) Rows {
	_, length := Count(shape)
	return Compute(shape, dtype, 1, func(dst []float32, first, _ int64) error {
		copy(dst, values[first*length:])
		return nil
	})
}

// computed is a tensor whose values are computed.
type computed struct {
	shape    []int64
	dtype    Dtype
	grain    int64
	read     func(dst []float32, first, n int64) error
	operands []Rows
	undo     func(result Rows) []Rows // as that of arranged
}

func (c *computed) Shape() []int64   { return c.shape }
func (c *computed) Dtype() Dtype     { return c.dtype }
func (c *computed) Grain() int64     { return c.grain }
func (c *computed) Operands() []Rows { return c.operands }

func (c *computed) ReadRows(dst []float32, first, n int64) error {
	if err := c.read(dst, first, n); err != nil {
		return err
	}
	c.dtype.Round(dst)
	return nil
}

func (c *computed) ReadRaw(dst []byte, first, n int64) error { return encodeRows(c, dst, first, n) }

// encodeRows is ReadRaw for tensors that are not stored.
func encodeRows(r Rows, dst []byte, first, n int64) error {
	_, length := Count(r.Shape())
	values := floats.get(n * length)
	defer floats.put(values)
	if err := r.ReadRows(*values, first, n); err != nil {
		return err
	}
	r.Dtype().Encode(dst, *values)
	return nil
}
