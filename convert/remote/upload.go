package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Upload is a file that is to be in a repository of the hub.
type Upload struct {
	Name   string // there
	Path   string // here
	SHA256 string // in hexadecimal
}

// What is read of answers, sent at a time, and told the hub of a file.
const (
	maxAnswer     = 8 << 20
	sampleBytes   = 512
	filesAtATime  = 100
	maxParts      = 10_000
	uploadsInTurn = 3
	// maxInline bounds what is sent within a commit: the hub asks for that of small files.
	maxInline = 64 << 20
)

// lfsType is the media type of the protocol of Git LFS.
const lfsType = "application/vnd.git-lfs+json"

// Commit puts files into a repository of the hub, as one commit, and returns where that can be seen. Files of other names that are there
// stay. address is hf://org/name, or has a branch: hf://org/name@branch. Large files are sent in the parts that the hub asks for, several at a
// time, those that it has already not at all. progress is told how many bytes are there, and of how many; it may be nil.
//
// The token must be one that may write. Parts go to the addresses that the hub gives for them, without the token.
func (c *Client) Commit(address, message string, uploads []Upload, progress func(done, total int64)) (where string, err error) {
	u, err := c.newUploader(address)
	if err != nil {
		return "", err
	}
	defer func() {
		for _, f := range u.files {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, up := range uploads {
		f, err := files.Open(up.Path)
		if err != nil {
			return "", err
		}
		u.files = append(u.files, &uploaded{File: f, Upload: up})
		u.total += f.Size()
	}
	u.progress = progress
	if err := u.ask(); err != nil {
		return "", err
	}
	if err := u.send(); err != nil {
		return "", err
	}
	var read []*files.File
	for _, f := range u.files {
		read = append(read, f.File)
	}
	if err := files.Unchanged(read); err != nil {
		return "", err
	}
	return u.commit(message)
}

// CanCommit returns why files cannot be put into a repository of the hub, as far as it says so before they are sent: that it is not there, or that
// the token may not write to it.
func (c *Client) CanCommit(address string) error {
	u, err := c.newUploader(address)
	if err != nil {
		return err
	}
	_, err = u.preupload([]askedFile{{Path: "README.md", Size: 0}})
	return err
}

// ErrNoToken means that nobody says who asks.
var ErrNoToken = errors.New("a token of the hub is needed: HF_TOKEN, or that of hf auth login")

// uploader puts files into a repository.
type uploader struct {
	c        *Client
	address  hubAddress
	files    []*uploaded
	total    int64
	progress func(done, total int64)
	sent     atomic.Int64
}

// uploaded is a file on its way.
type uploaded struct {
	*files.File
	Upload
	large bool // goes another way than within the commit
}

func (c *Client) newUploader(address string) (*uploader, error) {
	rest, ok := cutHub(address)
	if !ok {
		return nil, fmt.Errorf("%w: %s: files go to the hub, hf://org/name", ErrAddress, Plain(address))
	}
	a, err := parseHub(rest)
	if err != nil {
		return nil, err
	}
	switch {
	case a.file != "" || !isID(a.id):
		return nil, fmt.Errorf("%w: %s: files go to a repository, hf://org/name", ErrAddress, a)
	case c.http.token == "":
		return nil, ErrNoToken
	}
	return &uploader{c: c, address: a}, nil
}

// api returns the address of something that the hub does for the repository.
func (u *uploader) api(what string) *url.URL {
	return u.c.hub.api(u.address, what)
}

// do sends a request with a document until it is answered, and reads the answer into another one.
func (u *uploader) do(what string, at *url.URL, mediaType string, document []byte, answer any) error {
	header := http.Header{"Content-Type": {mediaType}, "Accept": {"application/json"}}
	if mediaType == lfsType {
		header.Set("Accept", lfsType)
	}
	return u.c.retry(u.address.String()+": "+what, maxTries, func() (bool, error) {
		resp, err := u.c.http.send(u.c.ctx, http.MethodPost, at, header, bytes.NewReader(document), int64(len(document)))
		if err != nil {
			return false, err
		}
		body := newSteady(resp.Body)
		defer body.Close()
		data, err := io.ReadAll(io.LimitReader(body, maxAnswer))
		if err != nil {
			return false, u.c.broken(err)
		}
		if answer == nil {
			return false, nil
		}
		if err := json.Unmarshal(data, answer); err != nil {
			return false, fmt.Errorf("an answer of the hub that says nothing: %w", err)
		}
		return false, nil
	})
}

// askedFile is a file of which the hub is asked how it wants it.
type askedFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Sample string `json:"sample"`
}

// preupload asks which of some files are large, by names.
func (u *uploader) preupload(asked []askedFile) (large map[string]bool, err error) {
	document, err := json.Marshal(map[string]any{"files": asked})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Files []struct {
			Path   string `json:"path"`
			Mode   string `json:"uploadMode"`
			Ignore bool   `json:"shouldIgnore"`
		} `json:"files"`
	}
	if err := u.do("asking", u.api("preupload"), "application/json", document, &answer); err != nil {
		if errors.Is(err, ErrAccess) {
			return nil, fmt.Errorf("%w: there is no such repository (hf repo create makes one), or the token may not write to it", err)
		}
		return nil, err
	}
	large = make(map[string]bool)
	for _, f := range answer.Files {
		switch {
		case f.Ignore:
			return nil, fmt.Errorf("%s: its .gitignore has %q", u.address, f.Path)
		case f.Mode != "lfs" && f.Mode != "regular":
			return nil, fmt.Errorf("%s: the hub wants %q in a way that is not known here: %.40q", u.address, f.Path, f.Mode)
		}
		large[f.Path] = f.Mode == "lfs"
	}
	for _, f := range asked {
		if _, ok := large[f.Path]; !ok {
			return nil, fmt.Errorf("%s: the hub says nothing of %q", u.address, f.Path)
		}
	}
	return large, nil
}

// ask finds out which files are large.
func (u *uploader) ask() error {
	for some := range slices.Chunk(u.files, filesAtATime) {
		var asked []askedFile
		for _, f := range some {
			if !validName(f.Upload.Name) {
				return fmt.Errorf("%q is not the name of a file on the hub", f.Upload.Name)
			}
			sample := make([]byte, min(sampleBytes, f.Size()))
			if _, err := f.ReadAt(sample, 0); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			asked = append(asked, askedFile{f.Upload.Name, f.Size(), base64.StdEncoding.EncodeToString(sample)})
		}
		large, err := u.preupload(asked)
		if err != nil {
			return err
		}
		for _, f := range some {
			if f.large = large[f.Upload.Name]; !f.large && f.Size() > maxInline {
				return fmt.Errorf("%s: the hub wants the %d bytes of %q within the commit", u.address, f.Size(), f.Upload.Name)
			}
		}
	}
	return nil
}

// lfsAction is what there is to do for a file.
type lfsAction struct {
	Href   string                    `json:"href"`
	Header map[string]jsontext.Value `json:"header"`
}

// text returns a value of the header.
func (a *lfsAction) text(name string) (string, bool) {
	raw, ok := a.Header[name]
	if !ok {
		return "", false
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw) // a number
	}
	return text, true
}

// lfsObject is a file as the protocol has it.
type lfsObject struct {
	OID     string                `json:"oid"`
	Size    int64                 `json:"size"`
	Actions map[string]*lfsAction `json:"actions,omitempty"`
	Error   *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// send sends the large files.
func (u *uploader) send() error {
	group, ctx := errgroup.WithContext(u.c.ctx)
	group.SetLimit(uploadsInTurn)
	for _, f := range u.files {
		if !f.large {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := u.sendFile(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// sendFile sends a large file. Its addresses are good for a time: they are asked for again if one is not any more.
func (u *uploader) sendFile(ctx context.Context, f *uploaded) error {
	const most = 4
	for tries := 1; ; tries++ {
		object, err := u.batch(f)
		if err != nil {
			return err
		}
		upload := object.Actions["upload"]
		if upload == nil { // it is there
			u.report(f.Size())
			return nil
		}
		done := &sentBytes{u: u}
		err = u.transfer(ctx, f, upload, done)
		if err == nil {
			return u.verify(f, object.Actions["verify"])
		}
		done.undo()
		if !errors.Is(err, ErrAccess) || tries == most {
			return err
		}
	}
}

// batch asks where a file is to go.
func (u *uploader) batch(f *uploaded) (*lfsObject, error) {
	document, err := json.Marshal(map[string]any{
		"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256",
		"ref": map[string]string{"name": u.address.revision}, "objects": []lfsObject{{OID: f.SHA256, Size: f.Size()}},
	})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Objects []*lfsObject `json:"objects"`
	}
	parts := strings.Split(u.address.id, "/")
	at := u.c.hub.at(parts[0], parts[1]+".git", "info", "lfs", "objects", "batch")
	if err := u.do("asking where files go", at, lfsType, document, &answer); err != nil {
		return nil, err
	}
	if len(answer.Objects) != 1 || answer.Objects[0] == nil || answer.Objects[0].OID != f.SHA256 {
		return nil, errors.New("the hub does not say where the file goes")
	}
	object := answer.Objects[0]
	if object.Error != nil {
		return nil, fmt.Errorf("the hub does not take the file: %d, %.300q", object.Error.Code, object.Error.Message)
	}
	return object, nil
}

// transfer sends a file whole, or in parts of a size, each to an address of its own.
func (u *uploader) transfer(ctx context.Context, f *uploaded, action *lfsAction, done *sentBytes) error {
	size, inParts := action.text("chunk_size")
	if !inParts {
		header := make(http.Header)
		for name := range action.Header {
			if value, ok := action.text(name); ok && !strings.EqualFold(name, "Authorization") {
				header.Set(name, value)
			}
		}
		_, err := u.put(ctx, f, action.Href, header, 0, f.Size(), done)
		return err
	}
	chunk, err := strconv.ParseInt(size, 10, 64)
	if err != nil || chunk <= 0 || f.Size()/chunk >= maxParts {
		return fmt.Errorf("the hub asks for parts of %.40q bytes of a file of %d", size, f.Size())
	}
	type sentPart struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	var parts []sentPart
	for from := int64(0); from < f.Size(); from += chunk {
		number := len(parts) + 1
		address, ok := action.text(strconv.Itoa(number))
		if !ok { // numbers may have zeros in front
			for name := range action.Header {
				if n, err := strconv.Atoi(name); err == nil && n == number {
					address, ok = action.text(name)
				}
			}
		}
		if !ok {
			return fmt.Errorf("the hub does not say where part %d goes", number)
		}
		etag, err := u.put(ctx, f, address, nil, from, min(chunk, f.Size()-from), done)
		if err != nil {
			return err
		}
		if etag == "" {
			return fmt.Errorf("part %d was taken without an ETag", number)
		}
		parts = append(parts, sentPart{number, etag})
	}
	document, err := json.Marshal(map[string]any{"oid": f.SHA256, "parts": parts})
	if err != nil {
		return err
	}
	at, err := u.target(action.Href)
	if err != nil {
		return err
	}
	return u.do("putting parts together", at, lfsType, document, nil)
}

// target reads an address that the hub gave.
func (u *uploader) target(address string) (*url.URL, error) {
	at, err := url.Parse(address)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" || at.User != nil {
		return nil, errors.New("the hub gives an address that is none")
	}
	if u.c.hub.endpoint.Scheme == "https" && at.Scheme == "http" {
		return nil, fmt.Errorf("the hub would have files sent to %s, where anybody could read and change them", plainURL(at))
	}
	return at, nil
}

// put sends a part of a file, and returns the ETag that it has there.
func (u *uploader) put(ctx context.Context, f *uploaded, address string, header http.Header, from, n int64, done *sentBytes) (etag string, err error) {
	at, err := u.target(address)
	if err != nil {
		return "", err
	}
	err = u.c.retry("sending to "+at.Host, maxTries, func() (bool, error) {
		body := &watched{Reader: io.NewSectionReader(f, from, n), done: done}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body.timer = time.AfterFunc(idle, cancel)
		defer body.timer.Stop()
		resp, err := u.c.http.send(ctx, http.MethodPut, at, header, body, n)
		if err != nil {
			body.giveUp()
			if ctx.Err() != nil && u.c.ctx.Err() == nil {
				err = passing("%s takes nothing any more", at.Host)
			}
			return false, err
		}
		drain(resp.Body)
		etag = resp.Header.Get("ETag")
		return false, nil
	})
	return etag, err
}

// verify tells the hub that a file is there, if it wants to know.
func (u *uploader) verify(f *uploaded, action *lfsAction) error {
	if action == nil {
		return nil
	}
	at, err := u.target(action.Href)
	if err != nil {
		return err
	}
	document, err := json.Marshal(map[string]any{"oid": f.SHA256, "size": f.Size()})
	if err != nil {
		return err
	}
	return u.do("having a file verified", at, lfsType, document, nil)
}

// commit makes a commit of files that are there, and of small ones that are within it.
func (u *uploader) commit(message string) (where string, err error) {
	var document bytes.Buffer
	line := func(key string, value any) {
		data, errLine := json.Marshal(map[string]any{"key": key, "value": value})
		err = errors.Join(err, errLine)
		document.Write(data)
		document.WriteByte('\n')
	}
	line("header", map[string]string{"summary": message, "description": ""})
	for _, f := range u.files {
		if f.large {
			line("lfsFile", map[string]any{"path": f.Upload.Name, "algo": "sha256", "oid": f.SHA256, "size": f.Size()})
			continue
		}
		content, errRead := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		err = errors.Join(err, errRead)
		line("file", map[string]string{"path": f.Upload.Name, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(content)})
	}
	if err != nil {
		return "", err
	}
	var answer struct {
		URL string `json:"commitUrl"`
		OID string `json:"commitOid"`
	}
	if err := u.do("committing", u.api("commit"), "application/x-ndjson", document.Bytes(), &answer); err != nil {
		return "", err
	}
	for _, f := range u.files {
		if !f.large {
			u.report(f.Size())
		}
	}
	return answer.URL, nil
}

// report tells how much is there.
func (u *uploader) report(n int64) {
	if done := u.sent.Add(n); u.progress != nil {
		u.progress(done, u.total)
	}
}
