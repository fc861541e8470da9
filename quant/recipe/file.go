package recipe

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// File is a recipe of types with a name: which type each tensor gets, and as which file type a model is written
// with it.
//
// It is kept in the format of llama-quantize's --tensor-type-file, in which every word is PATTERN=TYPE, and which knows no
// comments. So what else there is to say stands in patterns that match no tensor, as none has a # in its name:
//
//	#name:mix-18G=f32
//	#type:q4_k_m=f32
//	^output\.weight$=q6_k
//	^blk\.0\.attn_k\.weight$=iq4_xs
type File struct {
	Name      string   // of the recipe, "" if it has none
	Type      FileType // Copy if it does not say
	Overrides []Override
}

const (
	nameMark, typeMark = "#name:", "#type:"
	// markType is what stands behind the = of words that say something else.
	markType = "=f32"
)

// validName is what a recipe may be called: names are printed, and they are patterns of llama-quantize.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// ReadFile reads a recipe.
func ReadFile(r io.Reader) (File, error) {
	f := File{Type: Copy}
	words := bufio.NewScanner(r)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		word := words.Text()
		mark, _, _ := strings.Cut(word, "=")
		if name, ok := strings.CutPrefix(mark, nameMark); ok {
			if !validName.MatchString(name) || f.Name != "" {
				return File{}, fmt.Errorf("%q is not a name for a recipe, of which there is one, of letters, digits, and . _ -", word)
			}
			f.Name = name
			continue
		}
		if name, ok := strings.CutPrefix(mark, typeMark); ok {
			fileType, err := ParseFileType(name)
			if err != nil || f.Type != Copy || !fileType.TakesOverrides() {
				return File{}, fmt.Errorf("%q does not name a quantized file type, of which there is one", word)
			}
			f.Type = fileType
			continue
		}
		o, err := ParseOverride(word)
		if err != nil {
			return File{}, err
		}
		f.Overrides = append(f.Overrides, o)
	}
	return f, words.Err()
}

// TakesOverrides reports whether a model that is written as f can have types of its own for tensors: those
// of quantized file types can.
func (f FileType) TakesOverrides() bool {
	base, err := f.Base()
	return err == nil && base.Quantized()
}

// ReadOverrides reads the overrides of a recipe: words, the format of llama-quantize's --tensor-type-file.
func ReadOverrides(r io.Reader) ([]Override, error) {
	f, err := ReadFile(r)
	return f.Overrides, err
}

// String returns the recipe as ReadFile reads it, a line for each word.
func (f File) String() string {
	var b strings.Builder
	if f.Name != "" {
		fmt.Fprintf(&b, "%s%s%s\n", nameMark, f.Name, markType)
	}
	if f.Type != Copy {
		fmt.Fprintf(&b, "%s%s%s\n", typeMark, strings.ToLower(f.Type.String()), markType)
	}
	for _, o := range f.Overrides {
		fmt.Fprintln(&b, o)
	}
	return b.String()
}
