package neon

import (
	"flag"
	"log"
	"path/filepath"
)

// Main is what a generator does: it writes a file for each family of kernels,
// FAMILY_arm64.s, to the directory that the flag -out names. command is how the
// generator is run, for the files to say.
func Main(command string, families map[string]func(*File)) {
	out := flag.String("out", ".", "the `directory` to write to")
	flag.Parse()
	for family, generate := range families {
		file := NewFile(command)
		generate(file)
		if err := file.Write(filepath.Join(*out, family+"_arm64.s")); err != nil {
			log.Fatal(err)
		}
	}
}
