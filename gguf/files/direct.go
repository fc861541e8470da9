package files

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// direct is a file that is open once more for writes that go from memory to the disk, past the cache of the system (O_DIRECT): what would
// only pass through the cache is not copied into it, and takes no memory from what is needed there.
type direct struct {
	once sync.Once
	file *os.File // nil where that cannot be
}

// leastDirect is what is worth the wait for the disk.
const leastDirect = 64 << 10

// Aligned returns buf, but for less than a page at its start: so that its pages in memory are those of a file from an offset on, as
// WriteDirect wants them.
func Aligned(buf []byte, offset int64) []byte {
	page := uintptr(os.Getpagesize())
	return buf[(uintptr(offset)-address(buf))%page:]
}

func address(buf []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(buf))) }

// WriteDirect writes all of data, as WriteAt does, but whole pages of it past the cache of the system, if data is Aligned and the system
// can. Calls may be concurrent, with those of WriteAt, too, for other bytes.
func (o *Output) WriteDirect(data []byte, offset int64) error {
	page := uintptr(os.Getpagesize())
	head := min(int(-uintptr(offset)%page), len(data))
	pages := (len(data) - head) / int(page) * int(page)
	if pages < leastDirect || address(data[head:])%page != 0 || o.openDirect() == nil {
		_, err := o.WriteAt(data, offset)
		return err
	}
	// No page has bytes of both ways, but for those of other calls that are at its edges.
	_, errHead := o.WriteAt(data[:head], offset)
	_, errTail := o.WriteAt(data[head+pages:], offset+int64(head+pages))
	data, offset = data[head:][:pages], offset+int64(head)
	_, err := o.direct.file.WriteAt(data, offset)
	if errors.Is(err, syscall.EINVAL) { // the file system or its disk wants it otherwise
		_, err = o.WriteAt(data, offset)
	}
	return errors.Join(errHead, errTail, err)
}

// openDirect opens the file for direct writes, nil if it cannot.
func (o *Output) openDirect() *os.File {
	o.direct.once.Do(func() {
		f, err := openDirect(o.Name())
		if err != nil {
			return
		}
		is, err := f.Stat()
		was, errWas := o.Stat()
		if err != nil || errWas != nil || !os.SameFile(is, was) {
			f.Close()
			return
		}
		o.direct.file = f
	})
	return o.direct.file
}

// Close closes the file.
func (o *Output) Close() error {
	err := o.File.Close()
	if o.direct.file != nil && !errors.Is(err, os.ErrClosed) {
		err = errors.Join(err, o.direct.file.Close())
	}
	return err
}
