package results

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
)

// Record is the result of a unit.
type Record struct {
	Unit int
	Data []byte // depends on the run and the unit alone
	Cost Cost
}

const (
	recordStart = "gkr1"
	headerSize  = 104
	keySize     = 16
	titleUnit   = math.MaxUint64 // the unit of the first record of a file
)

// Bounds of what is read; what is kept is far below them.
const (
	maxUnits = 1 << 40
	// maxAttempt is not reached, as each attempt but the first is one of a person.
	maxAttempt = 1 << 30
	maxCost    = 1 << 20
	maxData    = math.MaxInt32
	maxTitle   = 16 << 20
)

// key is the beginning of the key of a run.
type key [keySize]byte

// header is what stands before the cost and the data of a record.
type header struct {
	attempt    uint32
	unit       uint64
	cost, data uint32 // bytes
	key        key
	sum        gguf.Digest // of the data
}

// appendRecord adds a record to b.
func appendRecord(b []byte, k key, attempt uint32, unit uint64, cost, data []byte) []byte {
	start := len(b)
	b = append(b, recordStart...)
	b = binary.LittleEndian.AppendUint32(b, attempt)
	b = binary.LittleEndian.AppendUint64(b, unit)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(cost)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, k[:]...)
	sum := sha256.Sum256(data)
	b = append(b, sum[:]...)
	own := sha256.New()
	own.Write(b[start:])
	own.Write(cost)
	b = own.Sum(b)
	b = append(b, cost...)
	return append(b, data...)
}

// parseHeader reads a header; ok is false if it is none.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || string(b[:4]) != recordStart {
		return h, false
	}
	h = header{
		attempt: binary.LittleEndian.Uint32(b[4:]),
		unit:    binary.LittleEndian.Uint64(b[8:]),
		cost:    binary.LittleEndian.Uint32(b[16:]),
		data:    binary.LittleEndian.Uint32(b[20:]),
	}
	copy(h.key[:], b[24:])
	copy(h.sum[:], b[40:])
	return h, h.cost <= maxCost && h.data <= maxData && h.attempt < maxAttempt && (h.unit <= maxUnits || h.unit == titleUnit)
}

// found is a record in a file.
type found struct {
	header
	offset int64 // of the data
	cost   Cost
}

// readRecord reads the record at an offset of a file of some size. Ok is false if there is no whole one. Its data are read, but not
// kept. Read is how many bytes that took.
func readRecord(r io.ReaderAt, offset, size int64) (record found, read int64, ok bool, err error) {
	head := make([]byte, headerSize)
	if size-offset < headerSize {
		return record, 0, false, nil
	}
	if err := readFull(r, head, offset); err != nil {
		return record, 0, false, err
	}
	read = headerSize
	record.header, ok = parseHeader(head)
	record.offset = offset + headerSize + int64(record.header.cost)
	if !ok || size-record.offset < int64(record.data) {
		return record, read, false, nil
	}
	cost := make([]byte, record.header.cost)
	if err := readFull(r, cost, offset+headerSize); err != nil {
		return record, read, false, err
	}
	read += int64(len(cost))
	own := sha256.New()
	own.Write(head[:headerSize-sha256.Size])
	own.Write(cost)
	if !bytes.Equal(own.Sum(nil), head[headerSize-sha256.Size:]) || len(cost) > 0 && json.Unmarshal(cost, &record.cost) != nil {
		return record, read, false, nil
	}
	sum := sha256.New()
	n, err := io.Copy(sum, io.NewSectionReader(r, record.offset, int64(record.data)))
	read += n
	if err != nil {
		return record, read, false, err
	}
	return record, read, n == int64(record.data) && bytes.Equal(sum.Sum(nil), record.sum[:]), nil
}

// readFull reads all of b.
func readFull(r io.ReaderAt, b []byte, offset int64) error {
	if n, err := r.ReadAt(b, offset); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return nil
}

// scan calls visit with each whole record of a file, and returns how many bytes belong to none. A file whose records contradict
// themselves could have its bytes summed again and again: what is left when they were four times is not looked at.
func scan(ctx context.Context, r io.ReaderAt, size int64, visit func(found)) (damaged int64, err error) {
	budget := 4*size + 1<<20
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return damaged, err
		}
		record, read, ok, err := readRecord(r, offset, size)
		if err != nil {
			return damaged, fmt.Errorf("offset %d: %w", offset, err)
		}
		if ok {
			visit(record)
			offset = record.offset + int64(record.data)
			continue
		}
		if budget -= read; budget < 0 {
			return damaged + size - offset, nil
		}
		next, read, err := findStart(r, offset+1, size)
		if err != nil {
			return damaged, fmt.Errorf("offset %d: %w", offset, err)
		}
		budget -= read
		damaged += next - offset
		offset = next
	}
	return damaged, nil
}

// findStart returns the next offset, from one on, where a record may begin, or the size, and how many bytes were read for that.
func findStart(r io.ReaderAt, offset, size int64) (next, read int64, err error) {
	room := int64(256) // more and more: most often, it is near
	for size-offset >= headerSize {
		b := make([]byte, min(room, size-offset))
		if err := readFull(r, b, offset); err != nil {
			return 0, 0, err
		}
		read += int64(len(b))
		if i := bytes.Index(b, []byte(recordStart)); i >= 0 {
			return offset + int64(i), read, nil
		}
		offset += int64(len(b) - len(recordStart) + 1)
		room = min(4*room, 64<<10)
	}
	return size, read, nil
}

// readData returns the data of a record, if they are still what they were.
func readData(r io.ReaderAt, f found) ([]byte, error) {
	data := make([]byte, f.data)
	if err := readFull(r, data, f.offset); err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != f.sum {
		return nil, fmt.Errorf("offset %d: %w: the data are not what they were", f.offset, gguf.ErrCorrupt)
	}
	return data, nil
}
