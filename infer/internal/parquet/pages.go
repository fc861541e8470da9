package parquet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math/bits"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// readColumn reads the pages of a column of a row group.
func readColumn(r io.ReaderAt, size int64, leaf *node, chunk *format.ColumnChunk, limit *int64) ([]entry, error) {
	c := &chunk.MetaData
	start := c.DataPageOffset
	if c.DictionaryPageOffset > 0 && c.DictionaryPageOffset < start {
		start = c.DictionaryPageOffset
	}
	switch {
	case chunk.FilePath != "":
		return nil, unsupported("pages in another file, %.80q", chunk.FilePath)
	case c.Type != leaf.element.Type.V:
		return nil, corrupt("type %v instead of %v", c.Type, leaf.element.Type.V)
	case start < 0 || c.TotalCompressedSize < 0 || start > size || c.TotalCompressedSize > size-start:
		return nil, corrupt("%d bytes at %d in a file of %d", c.TotalCompressedSize, start, size)
	case c.NumValues < 0 || c.NumValues > *limit/entrySize:
		return nil, unsupported("%d values", c.NumValues)
	}
	*limit -= c.NumValues * entrySize
	data := make([]byte, c.TotalCompressedSize)
	if _, err := r.ReadAt(data, start); err != nil {
		return nil, err
	}
	p := pages{leaf: leaf, codec: c.Codec, limit: limit}
	for int64(len(p.entries)) < c.NumValues {
		var err error
		if data, err = p.read(data, c.NumValues-int64(len(p.entries))); err != nil {
			return nil, err
		}
	}
	return p.entries, nil
}

// pages are those of a column.
type pages struct {
	leaf       *node
	codec      format.CompressionCodec
	limit      *int64 // of bytes that are still unpacked
	dictionary values
	entries    []entry
}

// read reads a page, which may have so many more values, and returns what is behind it.
func (p *pages) read(data []byte, most int64) (rest []byte, err error) {
	var h format.PageHeader
	n, err := decode(data, &h)
	if err != nil {
		return nil, corrupt("header of a page: %v", err)
	}
	data = data[n:]
	length, unpacked := int(h.CompressedPageSize), int(h.UncompressedPageSize)
	switch {
	case length < 0 || length > len(data) || unpacked < 0:
		return nil, corrupt("a page of %d bytes, %d are left", length, len(data))
	case int64(unpacked) > *p.limit:
		return nil, unsupported("a page of %d bytes, more than data may have", unpacked)
	}
	*p.limit -= int64(unpacked)
	page, rest := data[:length], data[length:]
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		d := h.DictionaryPageHeader.V
		if d.Encoding != format.Plain && d.Encoding != oldDictionary {
			return nil, unsupported("a dictionary encoded as %v", d.Encoding)
		}
		if page, err = p.unpack(page, unpacked); err != nil {
			return nil, err
		}
		p.dictionary, err = p.leaf.plain(page, int(d.NumValues))
		return rest, err
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		d := h.DataPageHeader.V
		if page, err = p.unpack(page, unpacked); err != nil {
			return nil, err
		}
		if d.NumValues < 0 || int64(d.NumValues) > most {
			return nil, corrupt("a page of %d values, %d are left", d.NumValues, most)
		}
		levels := func(most uint8, encoding format.Encoding) ([]uint32, error) {
			if most == 0 {
				return nil, nil
			}
			if encoding != format.RLE {
				return nil, unsupported("levels encoded as %v", encoding)
			}
			if len(page) < 4 || uint64(binary.LittleEndian.Uint32(page)) > uint64(len(page)-4) {
				return nil, corrupt("levels end too early")
			}
			end := 4 + int(binary.LittleEndian.Uint32(page))
			l, err := hybrid(page[4:end], bits.Len8(most), int(d.NumValues))
			page = page[end:]
			return l, err
		}
		rep, err := levels(p.leaf.rep, d.RepetitionLevelEncoding)
		if err != nil {
			return nil, err
		}
		def, err := levels(p.leaf.def, d.DefinitionLevelEncoding)
		if err != nil {
			return nil, err
		}
		return rest, p.add(int(d.NumValues), rep, def, page, d.Encoding)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		d := h.DataPageHeaderV2.V
		reps, defs := int(d.RepetitionLevelsByteLength), int(d.DefinitionLevelsByteLength)
		if reps < 0 || defs < 0 || reps > length-defs || reps > unpacked-defs || d.NumValues < 0 || int64(d.NumValues) > most {
			return nil, corrupt("a page of %d values, %d are left, with levels of %d and %d bytes", d.NumValues, most, reps, defs)
		}
		levels := func(data []byte, most uint8) ([]uint32, error) {
			if most == 0 {
				return nil, nil
			}
			return hybrid(data, bits.Len8(most), int(d.NumValues))
		}
		rep, err := levels(page[:reps], p.leaf.rep)
		if err != nil {
			return nil, err
		}
		def, err := levels(page[reps:reps+defs], p.leaf.def)
		if err != nil {
			return nil, err
		}
		if page = page[reps+defs:]; !d.IsCompressed.Valid || d.IsCompressed.V {
			if page, err = p.unpack(page, unpacked-reps-defs); err != nil {
				return nil, err
			}
		}
		return rest, p.add(int(d.NumValues), rep, def, page, d.Encoding)
	}
	return rest, nil // of an index
}

// add adds the entries of a page: levels, nil where all are the highest there is, and the values of those that are there.
func (p *pages) add(n int, rep, def []uint32, data []byte, encoding format.Encoding) error {
	there := n
	for _, d := range def {
		if d > uint32(p.leaf.def) {
			return corrupt("definition level %d of %d", d, p.leaf.def)
		}
		if d < uint32(p.leaf.def) {
			there--
		}
	}
	v, err := p.decode(data, there, encoding)
	if err != nil {
		return err
	}
	next := 0
	for i := range n {
		e := entry{def: p.leaf.def}
		if rep != nil {
			if rep[i] > uint32(p.leaf.rep) {
				return corrupt("repetition level %d of %d", rep[i], p.leaf.rep)
			}
			e.rep = uint8(rep[i])
		}
		if def != nil {
			e.def = uint8(def[i])
		}
		if e.def == p.leaf.def {
			if e.value, err = p.leaf.write(v[next]); err != nil {
				return err
			}
			next++
		}
		p.entries = append(p.entries, e)
	}
	return nil
}

// unpack returns what a page has, which must be of this length.
func (p *pages) unpack(page []byte, length int) (unpacked []byte, err error) {
	read := func(r io.Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, int64(length)+1))
	}
	switch p.codec {
	case format.Uncompressed:
		unpacked = page
	case format.Snappy:
		if n, err := snappy.DecodedLen(page); err != nil || n != length {
			return nil, corrupt("a page of %d bytes instead of %d", n, length)
		}
		unpacked, err = snappy.Decode(nil, page)
	case format.Gzip:
		unpacked, err = read(gzip.NewReader(bytes.NewReader(page)))
	case format.Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(page), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(length)+1<<20))
		if err == nil {
			defer z.Close()
			unpacked, err = read(z, nil)
		}
	default:
		return nil, unsupported("pages packed as %v", p.codec)
	}
	if err != nil {
		return nil, corrupt("a page: %w", err)
	}
	if len(unpacked) != length {
		return nil, corrupt("a page of %d bytes instead of %d", len(unpacked), length)
	}
	return unpacked, nil
}
