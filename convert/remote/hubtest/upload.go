package hubtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// uploads is what was sent to a Server: parts of files, and files, by their SHA-256. Files get names by a commit.
type uploads struct {
	parts map[string]map[int][]byte
	files map[string][]byte
}

// Commits returns the summaries of the commits that were made, first to last.
func (s *Server) Commits() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commits)
}

const lfsType = "application/vnd.git-lfs+json"

// receive does what somebody asks who puts files on the hub.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, parts []string) {
	if s.Token == "" || r.Header.Get("Authorization") != "Bearer "+s.Token {
		fail(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch {
	case len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "preupload":
		if _, ok := s.dir(w, r, parts[2]+"/"+parts[3]); ok {
			s.preupload(w, body)
		}
	case len(parts) == 6 && parts[0] == "api" && parts[1] == "models" && parts[4] == "commit":
		if dir, ok := s.dir(w, r, parts[2]+"/"+parts[3]); ok {
			s.commit(w, dir, body)
		}
	case len(parts) == 6 && strings.Join(parts[2:], "/") == "info/lfs/objects/batch":
		if r.Header.Get("Content-Type") != lfsType || r.Header.Get("Accept") != lfsType {
			http.Error(w, "not of Git LFS", http.StatusNotAcceptable)
			return
		}
		s.batch(w, body)
	case len(parts) == 2 && parts[0] == "verify" || len(parts) == 2 && parts[0] == "complete":
		s.complete(w, parts[0] == "verify", body)
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, document any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(document)
}

// preupload says which files are large.
func (s *Server) preupload(w http.ResponseWriter, body []byte) {
	var asked struct {
		Files []struct {
			Path   string `json:"path"`
			Size   int64  `json:"size"`
			Sample string `json:"sample"`
		} `json:"files"`
	}
	if json.Unmarshal(body, &asked) != nil {
		http.Error(w, "no document", http.StatusBadRequest)
		return
	}
	var files []map[string]any
	for _, f := range asked.Files {
		mode := "regular"
		if f.Size >= s.Large || strings.HasSuffix(f.Path, ".gguf") {
			mode = "lfs"
		}
		files = append(files, map[string]any{"path": f.Path, "uploadMode": mode, "shouldIgnore": f.Path == "ignored.txt"})
	}
	answer(w, map[string]any{"files": files})
}

// batch says where files go: nowhere if they are there, and in parts of s.Chunk bytes if that is not 0.
func (s *Server) batch(w http.ResponseWriter, body []byte) {
	var asked struct {
		Operation string   `json:"operation"`
		Transfers []string `json:"transfers"`
		Objects   []struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		} `json:"objects"`
	}
	if json.Unmarshal(body, &asked) != nil || asked.Operation != "upload" {
		http.Error(w, "no document", http.StatusBadRequest)
		return
	}
	var objects []map[string]any
	for _, o := range asked.Objects {
		object := map[string]any{"oid": o.OID, "size": o.Size}
		s.mu.Lock()
		_, there := s.uploads.files[o.OID]
		s.mu.Unlock()
		link := func(part int) string {
			query := url.Values{"file": {fmt.Sprintf("%s/%d", o.OID, part)}, "nonce": {fmt.Sprint("put", s.requests.Load(), part)}}
			query.Set("signature", sign(query))
			return s.CDN + "/put?" + query.Encode()
		}
		if !there {
			upload := map[string]any{"href": link(1)}
			if s.Chunk > 0 && o.Size > s.Chunk {
				header := map[string]any{"chunk_size": strconv.FormatInt(s.Chunk, 10)}
				for part := 1; int64(part-1)*s.Chunk < o.Size; part++ {
					header[fmt.Sprintf("%05d", part)] = link(part)
				}
				upload = map[string]any{"href": s.URL + "/complete/" + o.OID, "header": header}
			}
			object["actions"] = map[string]any{"upload": upload, "verify": map[string]any{"href": s.URL + "/verify/" + o.OID}}
		}
		objects = append(objects, object)
	}
	w.Header().Set("Content-Type", lfsType)
	_ = json.NewEncoder(w).Encode(map[string]any{"objects": objects})
}

// take takes a file, or a part of one.
func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	oid, number, _ := strings.Cut(r.URL.Query().Get("file"), "/")
	part, _ := strconv.Atoi(number)
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received += int64(len(data))
	if s.uploads.parts == nil {
		s.uploads = uploads{make(map[string]map[int][]byte), make(map[string][]byte)}
	}
	if s.uploads.parts[oid] == nil {
		s.uploads.parts[oid] = make(map[int][]byte)
	}
	s.uploads.parts[oid][part] = data
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
}

// complete puts the parts of a file together, as verifying does with one that came whole.
func (s *Server) complete(w http.ResponseWriter, verify bool, body []byte) {
	var sent struct {
		OID   string `json:"oid"`
		Size  *int64 `json:"size"`
		Parts []struct {
			Number int    `json:"partNumber"`
			ETag   string `json:"etag"`
		} `json:"parts"`
	}
	if json.Unmarshal(body, &sent) != nil {
		http.Error(w, "no document", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.uploads.files[sent.OID]; there && verify {
		return
	}
	var data []byte
	if len(sent.Parts) == 0 {
		data = s.uploads.parts[sent.OID][1]
	}
	for _, part := range sent.Parts {
		piece := s.uploads.parts[sent.OID][part.Number]
		if part.ETag != fmt.Sprintf(`"%x"`, sha256.Sum256(piece)) {
			http.Error(w, "another part", http.StatusBadRequest)
			return
		}
		data = append(data, piece...)
	}
	if fmt.Sprintf("%x", sha256.Sum256(data)) != sent.OID || sent.Size != nil && *sent.Size != int64(len(data)) {
		http.Error(w, "another file", http.StatusBadRequest)
		return
	}
	s.uploads.files[sent.OID] = data
}

// commit gives files their names.
func (s *Server) commit(w http.ResponseWriter, dir string, body []byte) {
	files := make(map[string][]byte)
	summary := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(string(body)) {
		var entry struct {
			Key   string         `json:"key"`
			Value map[string]any `json:"value"`
		}
		if json.Unmarshal([]byte(line), &entry) != nil {
			http.Error(w, "no document", http.StatusBadRequest)
			return
		}
		text := func(key string) string { value, _ := entry.Value[key].(string); return value }
		switch entry.Key {
		case "header":
			summary = text("summary")
		case "file":
			data, err := base64.StdEncoding.DecodeString(text("content"))
			if err != nil || text("encoding") != "base64" {
				http.Error(w, "no content", http.StatusBadRequest)
				return
			}
			files[text("path")] = data
		case "lfsFile":
			data, ok := s.uploads.files[text("oid")]
			if !ok || text("algo") != "sha256" {
				http.Error(w, "the file was not sent", http.StatusBadRequest)
				return
			}
			files[text("path")] = data
		}
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if !filepath.IsLocal(filepath.FromSlash(name)) || os.MkdirAll(filepath.Dir(path), 0o777) != nil || os.WriteFile(path, data, 0o666) != nil {
			http.Error(w, "no name for a file", http.StatusBadRequest)
			return
		}
	}
	s.commits = append(s.commits, summary)
	answer(w, map[string]any{"success": true, "commitUrl": s.URL + "/commit/1", "commitOid": "1"})
}

// Received returns how many bytes of files were sent to the server.
func (s *Server) Received() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}
