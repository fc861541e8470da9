package eval

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	parquetformat "github.com/parquet-go/parquet-go/format"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// parquetRows returns the rows of a Parquet file as JSON, under the names of its columns.
func parquetRows(f *files.File) ([]json.RawMessage, error) { return readParquet(f, f.Size()) }

// readParquet reads the rows of a Parquet file of size bytes. The library believes what the file says of its
// sizes, and panics where it contradicts itself.
func readParquet(r io.ReaderAt, size int64) (rows []json.RawMessage, err error) {
	defer func() {
		if wrong := recover(); wrong != nil {
			rows, err = nil, fmt.Errorf("%w: not Parquet: %v", gguf.ErrCorrupt, wrong)
		}
	}()
	if err := checkParquet(r, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, err
	}
	reader := parquet.NewGenericReader[any](file)
	defer func() { err = errors.Join(err, reader.Close()) }()
	for total := 0; ; {
		var row [1]any
		n, err := reader.Read(row[:])
		if n > 0 {
			raw, err := json.Marshal(row[0])
			if err != nil {
				return nil, err
			}
			if total += len(raw); total > maxData {
				return nil, errTooMuchData
			}
			rows = append(rows, raw)
		}
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: a row that has no end", gguf.ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
	}
}

const (
	maxParquetItems   = 1 << 18  // of all lists of a footer; each takes some hundred bytes of memory
	maxParquetHeader  = 16 << 20 // bytes of a footer, or of what is in front of a page
	maxParquetColumns = 1 << 12
	maxParquetValues  = maxData / 16 // of all pages of a column
)

// checkParquet bounds the memory that reading a file takes: by the lists of its footer, and by the sizes of its pages.
func checkParquet(r io.ReaderAt, size int64) error {
	const magic = 4
	end := size - magic - 4
	var length [4]byte
	if end < magic {
		return fmt.Errorf("%w: %d bytes are no Parquet", gguf.ErrCorrupt, size)
	}
	if _, err := r.ReadAt(length[:], end); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(length[:]))
	if n > min(end-magic, maxParquetHeader) {
		return fmt.Errorf("%w: a footer of %d bytes, of a file of %d", gguf.ErrCorrupt, n, size)
	}
	data := make([]byte, n)
	if _, err := r.ReadAt(data, end-n); err != nil {
		return err
	}
	var footer parquetformat.FileMetaData
	if _, err := decodeThrift(data, &footer); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if footer.NumRows > maxParquetValues || len(footer.Schema) > maxParquetColumns {
		return fmt.Errorf("%w: %d rows, %d columns", gguf.ErrUnsupported, footer.NumRows, len(footer.Schema))
	}
	var unpacked int64
	for i, group := range footer.RowGroups {
		for j, column := range group.Columns {
			n, err := checkPages(r, size, &column.MetaData)
			if err != nil {
				return fmt.Errorf("row group %d, column %d: %w", i, j, err)
			}
			if unpacked += n; unpacked > maxData {
				return errTooMuchData
			}
		}
	}
	return nil
}

// checkPages looks at the header of each page of a part of a column, and returns how many bytes they are when
// they are unpacked.
func checkPages(r io.ReaderAt, size int64, of *parquetformat.ColumnMetaData) (unpacked int64, err error) {
	at := cmp.Or(of.DictionaryPageOffset, of.DataPageOffset)
	if at < 0 || of.TotalCompressedSize < 0 || of.TotalCompressedSize > size-at {
		return 0, fmt.Errorf("%w: %d bytes at offset %d, of a file of %d", gguf.ErrCorrupt, of.TotalCompressedSize, at, size)
	}
	var values int64
	for end := at + of.TotalCompressedSize; at < end; {
		page, n, err := pageHeader(r, at, end)
		if err != nil {
			return 0, fmt.Errorf("page at offset %d: %w", at, err)
		}
		if page.CompressedPageSize < 0 || int64(page.CompressedPageSize) > end-at-n || page.UncompressedPageSize < 0 {
			return 0, fmt.Errorf("%w: page at offset %d: sizes %d and %d", gguf.ErrCorrupt, at, page.CompressedPageSize, page.UncompressedPageSize)
		}
		if err := checkPage(io.NewSectionReader(r, at+n, int64(page.CompressedPageSize)), of.Codec, &page); err != nil {
			return 0, fmt.Errorf("page at offset %d: %w", at, err)
		}
		at += n + int64(page.CompressedPageSize)
		unpacked += int64(page.UncompressedPageSize)
		values += int64(page.DataPageHeader.V.NumValues) + int64(page.DataPageHeaderV2.V.NumValues) + int64(page.DictionaryPageHeader.V.NumValues)
		if unpacked > maxData || values > maxParquetValues {
			return 0, errTooMuchData
		}
	}
	return unpacked, nil
}

// checkPage returns an error if a page, as it is stored, becomes longer than its header says. The library's decoders
// go on as long as there is something, or as there is memory.
func checkPage(stored *io.SectionReader, codec parquetformat.CompressionCodec, page *parquetformat.PageHeader) error {
	for _, encoding := range []parquetformat.Encoding{page.DataPageHeader.V.Encoding, page.DataPageHeaderV2.V.Encoding, page.DictionaryPageHeader.V.Encoding} {
		if encoding == parquetformat.DeltaByteArray { // a value may begin with all of the one before it
			return fmt.Errorf("%w: encoding %v", gguf.ErrUnsupported, encoding)
		}
	}
	if v2 := page.DataPageHeaderV2; v2.Valid {
		if v2.V.IsCompressed.Valid && !v2.V.IsCompressed.V {
			return nil
		}
		levels := int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if levels < 0 || levels > stored.Size() {
			return fmt.Errorf("%w: levels of %d bytes", gguf.ErrCorrupt, levels)
		}
		stored = io.NewSectionReader(stored, levels, stored.Size()-levels)
	}
	if stored.Size() == 0 {
		return nil
	}
	said := int64(page.UncompressedPageSize)
	var unpacked io.Reader
	switch codec {
	case parquetformat.Uncompressed:
		return nil
	case parquetformat.Snappy:
		n, err := binary.ReadUvarint(bufio.NewReader(stored))
		if err == nil && n > uint64(said) {
			err = errLongPage
		}
		return err
	case parquetformat.Gzip:
		z, err := gzip.NewReader(stored)
		if err != nil {
			return err
		}
		unpacked = z
	case parquetformat.Zstd:
		z, err := zstd.NewReader(stored, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxData))
		if err != nil {
			return err
		}
		defer z.Close()
		unpacked = z
	default:
		return fmt.Errorf("%w: compression %v", gguf.ErrUnsupported, codec)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(unpacked, said+1))
	if err == nil && n > said {
		err = errLongPage
	}
	return err
}

var errLongPage = fmt.Errorf("%w: it is longer than it says", gguf.ErrCorrupt)

// pageHeader reads what is in front of a page, and returns how many bytes that is.
func pageHeader(r io.ReaderAt, at, end int64) (page parquetformat.PageHeader, n int64, err error) {
	for window := int64(4 << 10); ; window *= 16 { // the smallest and the largest of its values are in it
		data := make([]byte, min(window, end-at, maxParquetHeader))
		if _, err := r.ReadAt(data, at); err != nil {
			return page, 0, err
		}
		n, err := decodeThrift(data, &page)
		if err == nil || int64(len(data)) < window || len(data) == maxParquetHeader {
			return page, int64(n), err
		}
	}
}

// decodeThrift decodes what data begins with, and returns how many bytes that is. The library makes room for lists and texts
// before it knows whether they are there, so that is looked at first.
func decodeThrift(data []byte, v any) (n int, err error) {
	s := skimmer{data: data, items: maxParquetItems}
	if !s.skip(thrift.STRUCT, 0) {
		return 0, fmt.Errorf("%w: its lists and texts are longer than it, or than there is memory for", gguf.ErrCorrupt)
	}
	n = len(data) - len(s.data)
	return n, thrift.Unmarshal(new(thrift.CompactProtocol), data[:n], v)
}

// skimmer walks over values in Thrift's compact protocol.
type skimmer struct {
	data  []byte // what is left
	items int    // so many may follow in lists
}

// skip goes behind a value, and reports whether it is whole.
func (s *skimmer) skip(kind thrift.Type, depth int) bool {
	if depth > 32 {
		return false
	}
	switch kind {
	case thrift.TRUE, thrift.FALSE: // of a list; those of a struct are in their field
		return s.drop(1)
	case thrift.I8:
		return s.drop(1)
	case thrift.I16, thrift.I32, thrift.I64:
		_, ok := s.number()
		return ok
	case thrift.DOUBLE:
		return s.drop(8)
	case thrift.BINARY:
		n, ok := s.number()
		return ok && s.drop(n)
	case thrift.LIST, thrift.SET:
		return s.list(depth)
	case thrift.STRUCT:
		return s.fields(depth)
	case thrift.UUID:
		return s.drop(16)
	default: // maps, of which there are none in Parquet
		return false
	}
}

func (s *skimmer) fields(depth int) bool {
	for len(s.data) > 0 {
		field := s.data[0]
		s.data = s.data[1:]
		kind := thrift.Type(field & 0xf)
		if kind == thrift.STOP {
			return true
		}
		if field>>4 == 0 {
			if _, ok := s.number(); !ok {
				return false
			}
		}
		if kind != thrift.TRUE && kind != thrift.FALSE && !s.skip(kind, depth+1) {
			return false
		}
	}
	return false
}

func (s *skimmer) list(depth int) bool {
	if len(s.data) == 0 {
		return false
	}
	head := s.data[0]
	s.data = s.data[1:]
	n, ok := uint64(head>>4), true
	if n == 0xf {
		n, ok = s.number()
	}
	if !ok || n > uint64(s.items) || n > uint64(len(s.data)) { // an item is a byte or more
		return false
	}
	s.items -= int(n)
	for range n {
		if !s.skip(thrift.Type(head&0xf), depth+1) {
			return false
		}
	}
	return true
}

func (s *skimmer) number() (uint64, bool) {
	v, n := binary.Uvarint(s.data)
	if n <= 0 {
		return 0, false
	}
	s.data = s.data[n:]
	return v, true
}

func (s *skimmer) drop(n uint64) bool {
	if n > uint64(min(len(s.data), math.MaxInt32)) {
		return false
	}
	s.data = s.data[n:]
	return true
}
