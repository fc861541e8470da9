package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/arch"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// maxText is how long a text may be: tens of millions of tokens.
const maxText = 256 << 20

// With --chunks a text is read as far as its tokens can be needed: a token of text has
// some four bytes, one of blanks at most 128 in the vocabularies there are. What
// follows has no effect on tokens so far before it.
const (
	bytesPerToken = 128
	beyondTokens  = 1 << 20
)

// textFile is a text that is named on the command line.
type textFile struct {
	file   string
	data   string // all of it, or the beginning
	whole  bool   // whether it is all
	sha256 string // of all of a file that has an end, else of data
	// chats says that each line is a conversation. What was made of them is known when they are tokens.
	chats         bool
	conversations *report.Conversations
}

// read reads the texts, of each as much as its windows can need.
func (f *textFlags) read() ([]textFile, error) {
	most := int64(maxText)
	if chunks := int64(f.chunks); chunks > 0 && chunks < maxText/int64(f.ctx) {
		most = min(most, chunks*int64(f.ctx)*bytesPerToken+beyondTokens)
	}
	var texts []textFile
	for _, file := range f.files {
		t, err := readText(file, most)
		if err != nil {
			return nil, err
		}
		first, _, _ := strings.Cut(strings.TrimLeft(t.data, " \r\n"), "\n")
		t.chats = f.scored != "" && chat.IsConversation([]byte(first))
		texts = append(texts, t)
	}
	return texts, nil
}

// readText reads the first bytes of a text; "-" is standard input. A text that is
// longer than maxText is an error, unless less of it is asked for.
func readText(file string, most int64) (textFile, error) {
	in := os.Stdin
	if file != "-" {
		var err error
		if in, err = os.Open(file); err != nil {
			return textFile{}, err
		}
		defer in.Close()
	}
	info, err := in.Stat()
	if err != nil {
		return textFile{}, err
	}
	var data strings.Builder
	if info.Mode().IsRegular() {
		data.Grow(int(min(info.Size(), most)))
	}
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(&data, hash), in, most); err != nil && !errors.Is(err, io.EOF) {
		return textFile{}, err
	}
	t := textFile{file: file, data: data.String(), whole: true}
	if int64(data.Len()) == most {
		n, err := io.CopyN(hash, in, 1)
		if err != nil && !errors.Is(err, io.EOF) {
			return textFile{}, err
		}
		t.whole = n == 0
	}
	switch {
	case t.whole:
	case most == maxText:
		return textFile{}, fmt.Errorf("%s: a text of more than %s is too long; with --chunks only as much is read as is needed", file, display.Bytes(maxText))
	case info.Mode().IsRegular():
		if _, err := io.Copy(hash, in); err != nil {
			return textFile{}, err
		}
	}
	t.sha256 = fmt.Sprintf("%x", hash.Sum(nil))
	return t, nil
}

// encode returns texts in a model's vocabulary. Of those that were not read to
// their end there are tokens for the windows.
func (f *textFlags) encode(c *call, model gguf.Source, texts []textFile) ([]perplexity.Text, error) {
	if spec, err := arch.Read(model); err == nil && spec.Encoder {
		return nil, spec.NoLogits()
	}
	vocab, err := vocabularyOf(model)
	if err != nil {
		return nil, err
	}
	windows := f.windows()
	var encoded []perplexity.Text
	for i, t := range texts {
		e := perplexity.Text{Name: t.file}
		if t.chats {
			if e.Windows, err = f.converse(c, model, vocab, &texts[i]); err != nil {
				return nil, err
			}
			encoded = append(encoded, e)
			continue
		}
		if e.Tokens, e.BOS, err = perplexity.Tokens(vocab, t.data); err != nil {
			return nil, fmt.Errorf("%s: %w", t.file, err)
		}
		if !t.whole && len(e.Tokens)/windows.Ctx < windows.Chunks {
			return nil, fmt.Errorf("%s: its first %s have only %d tokens, too few for %d windows of %d",
				t.file, display.Bytes(int64(len(t.data))), len(e.Tokens), windows.Chunks, windows.Ctx)
		}
		encoded = append(encoded, e)
	}
	return encoded, nil
}

// converse makes a window of each conversation of a file, but of those that have nothing to score.
func (f *textFlags) converse(c *call, model gguf.Source, vocab *tokenizer.Tokenizer, t *textFile) (windows []perplexity.Window, err error) {
	template, err := chat.New(model.Metadata())
	if err != nil {
		return nil, fmt.Errorf("%s has conversations: %w", t.file, about(model, err))
	}
	most := f.most
	if most == 0 {
		most = min(perplexity.DefaultConversation, infer.ContextLength(model.Metadata()))
	}
	made := perplexity.Conversations{Template: template, Vocab: vocab, All: f.scored == report.AllTokens, Most: most}
	data := t.data
	if !t.whole { // the last line is not
		data = data[:strings.LastIndexByte(data, '\n')+1]
	}
	number := 0
	for line := range strings.Lines(data) {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(windows) == f.chunks && f.chunks > 0 {
			break
		}
		conversation, err := chat.ParseConversation([]byte(line))
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", t.file, number, err)
		}
		w, err := made.Window(c.ctx, conversation)
		if errors.Is(err, chat.ErrHidden) {
			err = fmt.Errorf("%w; --score all needs none of that", err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", t.file, number, err)
		}
		if len(w.Scored) > 0 {
			windows = append(windows, w)
		}
	}
	switch {
	case len(windows) == 0:
		return nil, fmt.Errorf("%s: none of its conversations has a token to score within %d tokens", t.file, most)
	case !t.whole && len(windows) < f.chunks:
		return nil, fmt.Errorf("%s: its first %s have only %d conversations, too few for %d", t.file, display.Bytes(int64(len(t.data))), len(windows), f.chunks)
	}
	t.conversations = &report.Conversations{Scored: f.scored, Most: most, Cut: made.Cut, Unscored: made.Unscored}
	var notes []string
	if made.Cut > 0 {
		notes = append(notes, fmt.Sprintf("%s: conversations that were cut to %d tokens (--ctx): %d", t.file, most, made.Cut))
	}
	if made.Unscored > 0 {
		notes = append(notes, fmt.Sprintf("%s: conversations left out, as they have no token to score within %d tokens: %d", t.file, most, made.Unscored))
	}
	printNotes(c, notes)
	return windows, nil
}

// windowTokens returns how many tokens of texts are in the windows to score.
func windowTokens(texts []perplexity.Text, windows perplexity.Options) (tokens int) {
	for _, text := range texts {
		tokens += windows.Windows(len(text.Tokens)) * windows.Ctx
		for i, w := range text.Windows {
			if windows.Chunks == 0 || i < windows.Chunks {
				tokens += len(w.Tokens)
			}
		}
	}
	return tokens
}

// longestWindow returns how many tokens the longest window of the texts has.
func longestWindow(texts []perplexity.Text, windows perplexity.Options) (tokens int) {
	for _, text := range texts {
		if windows.Windows(len(text.Tokens)) > 0 {
			tokens = max(tokens, windows.Ctx)
		}
		for _, w := range text.Windows {
			tokens = max(tokens, len(w.Tokens))
		}
	}
	return tokens
}
