package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/edit"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/report"
)

type editFlags struct {
	changes  []edit.Change
	template string
	dryRun   bool
}

func editCommand() *cli.Command {
	var f editFlags
	change := func(name, usage string, parse func(string) (edit.Change, error)) cli.Flag {
		return repeatedFlag(name, usage+"; may be repeated", &f.changes, one(parse))
	}
	return &cli.Command{
		Name:      "edit",
		Usage:     "change metadata of a GGUF file",
		ArgsUsage: "FILE [OUT.gguf]",
		Description: "Without OUT.gguf FILE itself is changed: in place if the metadata fit where they are, and else it is\n" +
			"written anew and takes the place of the old one when it is whole. TYPE is u8 to u64, i8 to i64, f32, f64,\n" +
			"bool, str, int or float (of the width that the key has), or arr[TYPE] with JSON. A TOKEN is an id or a text. What would\n" +
			"leave a file that nobody loads is refused; --force lets some of it pass. Of a split set, name the first file.",
		Flags: []cli.Flag{
			change("set", "give a key a value: `KEY=TYPE:VALUE`", parseSet),
			change("delete", "remove the key `KEY`", func(s string) (edit.Change, error) { return edit.Delete{Key: s}, nil }),
			change("rename", "give the value of a key another one: `OLD=NEW`", func(s string) (edit.Change, error) {
				from, to, err := assignment(s, "OLD=NEW")
				return edit.Rename{From: from, To: to}, err
			}),
			&cli.StringFlag{Name: "chat-template", Usage: "make what is in `FILE` the one chat template", Destination: &f.template},
			change("token-type", "say what a token is for: `TOKEN=TYPE`, as normal, control, user_defined, unused", parseTokenType),
			change("special-token", "make a token the special one: `NAME=TOKEN`, as eos, eot, padding", func(s string) (edit.Change, error) {
				name, token, err := assignment(s, "NAME=TOKEN")
				return edit.SpecialToken{Name: name, Token: token}, err
			}),
			dryRunFlag(&f.dryRun),
		},
		Action: action(func(c *call) error { return editMetadata(c, f) }),
	}
}

// assignment splits an argument at the first =.
func assignment(s, form string) (left, right string, err error) {
	left, right, ok := strings.Cut(s, "=")
	if !ok || left == "" || right == "" {
		return "", "", fmt.Errorf("%q is not of the form %s", s, form)
	}
	return left, right, nil
}

func parseSet(s string) (edit.Change, error) {
	kv, err := edit.ParseSet(s)
	return kv, err
}

// parseTokenType reads TOKEN=TYPE, where the token may have an =.
func parseTokenType(s string) (edit.Change, error) {
	at := strings.LastIndexByte(s, '=')
	if at <= 0 {
		return nil, fmt.Errorf("%q is not of the form TOKEN=TYPE", s)
	}
	t, err := edit.ParseTokenType(s[at+1:])
	return edit.TokenType{Token: s[:at], Type: t}, err
}

func editMetadata(c *call, f editFlags) (err error) {
	if n := len(c.args); n != 1 && n != 2 {
		return c.wrongCount(1, "FILE")
	}
	in, out := c.args[0], c.args[len(c.args)-1]
	itself := len(c.args) == 1
	if err := notStdin(c, "a GGUF file", in); err != nil {
		return err
	}
	if f.template != "" {
		text, err := readTemplate(f.template)
		if err != nil {
			return err
		}
		f.changes = append(f.changes, edit.Template{Text: text})
	}
	finished := false
	if !f.dryRun {
		if finished, err = gguf.Finish(in); err != nil {
			return err
		}
		if finished {
			printNotes(c, []string{in + ": a change of its metadata that was interrupted has been brought to its end"})
		}
	}
	switch {
	case len(f.changes) == 0 && finished:
		return nil
	case len(f.changes) == 0:
		return c.usagef("what to change? --set, --delete, --rename, --chat-template, --token-type or --special-token says it")
	case !itself:
		if err := checkModelOutput(c, modelOutput{path: out, dryRun: f.dryRun}, []string{in}); err != nil {
			return err
		}
	}
	file, err := gguf.OpenAlone(in)
	if err != nil {
		return ggufHint(in, err)
	}
	defer file.Close()
	if err := editable(c, file, itself); err != nil {
		return err
	}
	meta, changed, err := edit.Plan(file, f.changes, c.force)
	if err != nil {
		return refusedHint(c, named(in, err))
	}
	if err := checkTemplate(meta, changed); err != nil && !c.force {
		return refusedHint(c, named(in, fmt.Errorf("%w: the chat template: %w", edit.ErrRefused, err)))
	}
	seen := report.NewEdit(in, out, changed)
	var patch *gguf.Patch
	if itself {
		if patch, err = file.Patch(meta); err != nil {
			return err
		}
	}
	src := file.WithMetadata(meta)
	if patch != nil {
		seen.InPlace, seen.Bytes = true, patch.Bytes()
	} else if _, seen.Bytes, err = gguf.Layout(src); err != nil {
		return err
	}
	if !f.dryRun {
		if err := writeEdited(c, file, src, patch, seen, itself); err != nil {
			return err
		}
	}
	if c.json {
		return printJSON(c, seen)
	}
	if f.dryRun || !c.quiet {
		w := c.stderr
		if f.dryRun {
			w = c.stdout
		}
		seen.Print(w)
		fmt.Fprintln(w, display.Printable(seen.Summary()))
	}
	return nil
}

// writeEdited writes a file with new metadata: by the patch if there is one.
func writeEdited(c *call, file *gguf.File, src gguf.Source, patch *gguf.Patch, seen *report.Edit, itself bool) error {
	switch {
	case itself && len(seen.Changes) == 0:
		return nil
	case patch != nil:
		return patch.Apply()
	}
	if itself && files.Links(file.Inputs()[0].Input()[0].Info) > 1 {
		printNotes(c, []string{seen.File + " has other names, and these keep what they have"})
	}
	progress := newProgress(c, "writing", display.ByteRate)
	defer progress.stop()
	opts := gguf.WriteOptions{Overwrite: c.force || itself, Threads: c.threads, Progress: progress.update}
	if itself {
		opts.Replace = file
	}
	_, err := gguf.Write(c.ctx, seen.Out, src, opts)
	return forceHint(c, err)
}

// hashed are names that say what is in the file.
var hashed = regexp.MustCompile(`^(sha256[-_:])?[0-9a-f]{64}$`)

// editable refuses to change files that others rely on as they are, or of which a part would be lost.
func editable(c *call, file *gguf.File, itself bool) error {
	in := file.Inputs()[0]
	path := in.Name()
	count, _ := file.Metadata().Uint("split.count")
	if no, err := file.Metadata().Uint("split.no"); err == nil && no > 0 && count > 1 {
		return fmt.Errorf("%s is number %d of %d split files: the metadata are in the first, %s", path, no+1, count, gguf.SplitSet(path)[0])
	}
	if !itself {
		if count > 1 {
			return fmt.Errorf("%s is the first of %d split files, and OUT.gguf would be without the others: leave OUT.gguf out, or join them first", path, count)
		}
		return nil
	}
	if file.ByteOrder() == binary.BigEndian {
		return fmt.Errorf("%s: %w: it is big-endian: name OUT.gguf, which is little-endian", path, gguf.ErrUnsupported)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	switch info := in.Input()[0].Info; {
	case c.force:
		return nil
	case info.Mode().Perm()&0o222 == 0:
		return refusedHint(c, fmt.Errorf("%s: %w: it is read-only", path, edit.ErrRefused))
	case hashed.MatchString(filepath.Base(resolved)):
		return refusedHint(c, fmt.Errorf("%s: %w: it is %s, whose name says what is in it", path, edit.ErrRefused, resolved))
	case file.Trailing() > 0:
		return refusedHint(c, fmt.Errorf("%s: %w: %d bytes after its tensors, of which nothing is known, could be lost", path, edit.ErrRefused, file.Trailing()))
	}
	return nil
}

// refusedHint says what to do about an edit that is refused.
func refusedHint(c *call, err error) error {
	if errors.Is(err, edit.ErrRefused) && !c.force {
		return fmt.Errorf("%w: --force does it all the same", err)
	}
	return err
}

// checkTemplate returns an error if a chat template was changed to one that cannot be read.
func checkTemplate(meta *gguf.Metadata, changed []edit.Changed) error {
	for _, change := range changed {
		if strings.HasPrefix(change.Key, "tokenizer.chat_template") && change.Is != nil {
			_, err := chat.New(meta)
			return err
		}
	}
	return nil
}

// maxTemplate is far above what chat templates have.
const maxTemplate = 4 << 20

// readTemplate reads a chat template, with the line ends that gguf-new-metadata makes of all.
func readTemplate(path string) (string, error) {
	file, err := files.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTemplate+1))
	if err != nil {
		return "", err
	}
	if len(data) > maxTemplate || len(data) == 0 {
		return "", &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d bytes or more are no chat template", len(data))}
	}
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), nil
}
