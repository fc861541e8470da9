package weights

// Elements is a tensor of which elements can be read without reading whole rows.
type Elements interface {
	Rows
	// ReadElements fills dst with elements as they are stored, in the order of rows, from
	// the one at first on.
	ReadElements(dst []byte, first int64) error
}

// ReadElements reads elements of any tensor that is stored, as [Elements] does. Where it has
// no way to do so itself, their rows are read.
func ReadElements(r Rows, dst []byte, first int64) error {
	if e, ok := r.(Elements); ok {
		return e.ReadElements(dst, first)
	}
	_, length := Count(r.Shape())
	size := int64(r.Dtype().Size())
	n := int64(len(dst)) / size
	if n == 0 {
		return nil
	}
	row := first / length
	rows := (first+n-1)/length + 1 - row
	buf := raw.get(rows * length * size)
	defer raw.put(buf)
	err := r.ReadRaw(*buf, row, rows)
	copy(dst, (*buf)[(first-row*length)*size:])
	return err
}
