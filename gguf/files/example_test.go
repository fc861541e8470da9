package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// An output has its name only when it is whole.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "report.txt")

	out, err := files.Create(path, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(out, "done")
	_, err = os.Stat(path)
	fmt.Println("before:", errors.Is(err, fs.ErrNotExist))
	if err := errors.Join(out.Publish(), out.Discard()); err != nil {
		log.Fatal(err)
	}
	data, err := os.ReadFile(path)
	fmt.Printf("after: %s %v\n", data, err)

	_, err = files.Create(path, false)
	fmt.Println("again:", errors.Is(err, fs.ErrExist))
	// Output:
	// before: true
	// after: done <nil>
	// again: true
}
