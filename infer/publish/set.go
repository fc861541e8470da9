package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Standard are the types that large publishers make of most models (those of bartowski's repositories on the hub): from the one that nobody
// tells from the original to those for machines that are too small for the model.
var Standard = []recipe.FileType{
	recipe.Q8_0, recipe.Q6_K_L, recipe.Q6_K, recipe.Q5_K_L, recipe.Q5_K_M, recipe.Q5_K_S, recipe.Q4_K_L, recipe.Q4_K_M, recipe.Q4_K_S, recipe.Q4_1, recipe.Q4_0,
	recipe.IQ4_NL, recipe.IQ4_XS, recipe.Q3_K_XL, recipe.Q3_K_L, recipe.Q3_K_M, recipe.IQ3_M, recipe.Q3_K_S, recipe.IQ3_XS, recipe.IQ3_XXS, recipe.Q2_K_L,
	recipe.Q2_K, recipe.IQ2_M, recipe.IQ2_S,
}

// Options says what files are made.
type Options struct {
	View quant.ViewOptions
	// MaxBytes splits files, as gguf.WriteOptions has it.
	MaxBytes int64
	// Optional are types that may be left out, if the model cannot become them.
	Optional []recipe.FileType
	// Facts are what the bytes of files depend on besides their headers.
	Facts []gguf.Fact
	// Share is that of gguf.WriteOptions: each type is a set of split files, some of which are made. Of one with Number 0, none is.
	Share gguf.Share
}

// Set are the files of a model.
type Set struct {
	Files []*File
	// Left says which types were left out, and why.
	Left []string

	opts Options
}

// File is a model as a file of some type, or as several that it is split into.
type File struct {
	Type  recipe.FileType
	View  *quant.View
	Names []string // of the files
	Bytes int64    // of all of them

	own       []gguf.SplitFile // those that this run makes; Path is the name
	out       string           // what gguf.WriteAll is told to call it: without the number of a split file
	whole     bool
	overwrite bool
}

// Name returns the name of the file, or of the first.
func (f *File) Name() string { return f.Names[0] }

// Own lists the names of those that this run makes: all, or with Options.Share some.
func (f *File) Own() (names []string) {
	for _, own := range f.own {
		names = append(names, own.Path)
	}
	return names
}

// Whole reports whether Set.Look found all that this run makes of it made already, or Set.Write made it.
func (f *File) Whole() bool { return f.whole }

// NewSet returns a model as files of several types, called NAME-Q4_K_M.gguf and so on. Nothing is read of its weights. The error for a type
// that is not among Options.Optional is that of quant.NewView.
func NewSet(name string, model gguf.Source, types []recipe.FileType, opts Options) (*Set, error) {
	s := &Set{opts: opts}
	var unweighted []string
	for _, fileType := range types {
		view, err := quant.NewView(model, fileType, opts.View)
		left := errors.Is(err, gguf.ErrUnsupported) && !errors.Is(err, quant.ErrRequantize)
		switch {
		case errors.Is(err, recipe.ErrNeedsImatrix) && slices.Contains(opts.Optional, fileType):
			unweighted = append(unweighted, fileType.String())
			continue
		case left && slices.Contains(opts.Optional, fileType):
			s.Left = append(s.Left, fmt.Sprintf("%s is left out: %v", fileType, err))
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		_, size, err := gguf.Layout(view)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fileType, err)
		}
		out := fmt.Sprintf("%s-%s.gguf", name, fileType)
		cut := gguf.WriteOptions{MaxBytes: opts.MaxBytes, Share: opts.Share}
		f := &File{Type: fileType, View: view, Names: cut.Paths(out, view), Bytes: size, out: out}
		if opts.Share.Of <= 1 || opts.Share.Number > 0 {
			if f.own, err = cut.Files(out, view); err != nil {
				return nil, fmt.Errorf("%s: %w", fileType, err)
			}
		}
		s.Files = append(s.Files, f)
	}
	if len(unweighted) > 0 {
		s.Left = append(s.Left, "left out, since there is no importance matrix: "+strings.Join(unweighted, ", "))
	}
	if len(s.Files) == 0 {
		return nil, errors.New("no type is left to make")
	}
	return s, nil
}

// Notes returns what is to be known of the files, a sentence each. What is said of all of them is said once.
func (s *Set) Notes() []string {
	var sentences []string
	of := make(map[string][]string)
	for _, f := range s.Files {
		for _, note := range f.View.Notes() {
			if of[note] == nil {
				sentences = append(sentences, note)
			}
			of[note] = append(of[note], f.Type.String())
		}
	}
	notes := slices.Clone(s.Left)
	for _, sentence := range sentences {
		if len(of[sentence]) < len(s.Files) {
			sentence = strings.Join(of[sentence], ", ") + ": " + sentence
		}
		notes = append(notes, sentence)
	}
	return notes
}

// Look finds out which files are whole in a folder. The error wraps ErrForeign or ErrOther for a file that is in the way, unless
// overwrite allows replacing it.
func (s *Set) Look(ctx context.Context, folder *Folder, overwrite bool) error {
	for _, f := range s.Files {
		f.whole, f.overwrite = true, overwrite
		names := f.Own()
		if len(names) == 0 && s.opts.Share.Number == 0 {
			names = f.Names // of other parts
		}
		for _, name := range names {
			state, err := folder.Find(ctx, name, s.opts.Facts, overwrite)
			if err != nil {
				return err
			}
			// Of a set of split files that was not finished, those that are there are made again.
			f.overwrite = f.overwrite || state == Whole
			f.whole = f.whole && state == Whole
		}
	}
	return nil
}

// Room returns how many bytes the missing files still take on the disk.
func (s *Set) Room(folder *Folder) (bytes int64) {
	for _, f := range s.Files {
		if f.whole {
			continue
		}
		for _, own := range f.own {
			bytes += own.Bytes - gguf.Unfinished(folder.Path(own.Path))
		}
	}
	return max(0, bytes)
}

// Write makes the missing files, all of them of one reading of the model. What an earlier run has left is continued. opts says
// how many threads there are, and whom to tell about progress.
func (s *Set) Write(ctx context.Context, folder *Folder, opts gguf.WriteOptions) error {
	opts.Job, opts.Resume, opts.MaxBytes, opts.Share = s.opts.Facts, true, s.opts.MaxBytes, s.opts.Share
	var to []gguf.Destination
	for _, f := range s.Files {
		for _, name := range f.Own() {
			if err := gguf.Tidy(folder.Path(name)); err != nil {
				return err
			}
		}
		if !f.whole && len(f.own) > 0 {
			to = append(to, gguf.Destination{Path: folder.Path(f.out), Source: f.View, Overwrite: f.overwrite})
		}
	}
	if len(to) == 0 {
		return nil
	}
	if err := folder.write(ctx, to, opts, s.opts.Facts); err != nil {
		return err
	}
	for _, f := range s.Files {
		f.whole = true
	}
	return nil
}

// Absent lists the names of files that nobody has made yet, whoever is to make them, in the order of all.
func (s *Set) Absent(folder *Folder) (names []string, err error) {
	if err := folder.read(); err != nil {
		return nil, err
	}
	for _, name := range s.Names() {
		if r, ok := folder.known(name); ok && gguf.Changed(r.Of, s.opts.Facts) == "" {
			if _, err := os.Lstat(folder.Path(name)); err == nil {
				continue
			}
		}
		names = append(names, name)
	}
	return names, nil
}

// Missing lists the files that this run is still to make.
func (s *Set) Missing() (files []*File) {
	for _, f := range s.Files {
		if !f.whole && len(f.own) > 0 {
			files = append(files, f)
		}
	}
	return files
}

// Own lists the names of the files that this run makes.
func (s *Set) Own() (names []string) {
	for _, f := range s.Files {
		names = append(names, f.Own()...)
	}
	return names
}

// Names lists the names of all files.
func (s *Set) Names() (names []string) {
	for _, f := range s.Files {
		names = append(names, f.Names...)
	}
	return names
}

// NameOf returns what files of a model are called by its path: the name of its directory or file, without type and number. One that is kept
// under a hash, as in the hub's cache, is called by its metadata.
func NameOf(path string, meta *gguf.Metadata) string {
	elsewhere := strings.Contains(path, "://")
	if abs, err := filepath.Abs(path); err == nil && !elsewhere {
		path = abs
	}
	name := filepath.Base(path)
	if elsewhere { // where a revision may follow
		name, _, _ = strings.Cut(name, "@")
	}
	if ext := filepath.Ext(name); slices.Contains([]string{".gguf", ".yaml", ".yml"}, strings.ToLower(ext)) {
		name = display.ModelStem(name)
	}
	for at, c := range name {
		if at > 0 && (c == '-' || c == '.') && !isNumber.MatchString(name[at+1:]) {
			if _, err := recipe.ParseFileType(name[at+1:]); err == nil {
				name = name[:at]
				break
			}
		}
	}
	if hash.MatchString(name) {
		if full, err := gguf.Value[string](meta, "general.name"); err == nil && full != "" {
			name = full
		}
	}
	name = strings.Trim(notInNames.ReplaceAllString(name, "-"), "-.")
	if name == "" {
		return "model"
	}
	return name
}

// IsName reports whether files may be called so.
func IsName(name string) bool {
	return name != "" && !notInNames.MatchString(name) && !strings.HasPrefix(name, ".")
}

var (
	hash       = regexp.MustCompile(`^[0-9a-f]{40}$`)
	isNumber   = regexp.MustCompile(`^\d+$`) // which is a file type, too
	notInNames = regexp.MustCompile(`[^\w.-]+`)
)
