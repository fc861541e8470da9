package weights

// Columns is a matrix of which columns can be read without reading the others.
type Columns interface {
	Rows
	// ReadColumns fills dst with the n columns from column first on: those of the
	// first row, then those of the next, as they are stored.
	ReadColumns(dst []byte, first, n int64) error
}

// ReadColumns reads columns of any matrix that is stored, as [Columns] does. Where it
// has no way to do so itself, all of it is read, a row at a time.
func ReadColumns(r Rows, dst []byte, first, n int64) error {
	if c, ok := r.(Columns); ok {
		return c.ReadColumns(dst, first, n)
	}
	rows, length := Count(r.Shape())
	size := int64(r.Dtype().Size())
	row := make([]byte, length*size)
	for i := range rows {
		if err := r.ReadRaw(row, i, 1); err != nil {
			return err
		}
		copy(dst[i*n*size:][:n*size], row[first*size:])
	}
	return nil
}
