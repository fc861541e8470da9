package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrAddress means that an address is not one that a model can have.
var ErrAddress = errors.New("not the address of a model")

var schemes = []string{"hf://", "https://", "http://", "s3://"}

// IsAddress reports whether a name is an address and no path.
func IsAddress(name string) bool {
	return slices.ContainsFunc(schemes, func(scheme string) bool {
		return len(name) >= len(scheme) && strings.EqualFold(name[:len(scheme)], scheme)
	})
}

var (
	hubName  = regexp.MustCompile(`^\w[\w.-]*/\w[\w.-]*$`)
	hubPart  = regexp.MustCompile(`^\w[\w.-]*$`)
	hubRefs  = regexp.MustCompile(`^(refs/(?:pr|convert)/[^/]+)(?:/(.*))?$`)
	revision = regexp.MustCompile(`^[\w.-]+(/[\w.-]+)*$`)
)

// maxName is longer than any name on the hub.
const maxName = 96

// IsHubName reports whether a path that does not exist may be meant as the name of a model
// on the hub: org/name. What ends as files do is a path that was mistyped.
func IsHubName(name string) bool {
	return isID(filepath.ToSlash(name)) && !slices.Contains([]string{".gguf", ".yaml", ".yml", ".safetensors", ".json", ".txt"}, strings.ToLower(filepath.Ext(name)))
}

// isID reports whether the hub may have a model of a name, org/name.
func isID(name string) bool {
	return len(name) <= 2*maxName && hubName.MatchString(name) && !strings.Contains(name, "..")
}

// HubID returns the name that the hub has for the model of an address.
func HubID(address string) (id string, ok bool) {
	rest, ok := cutHub(address)
	if !ok {
		return "", false
	}
	a, err := parseHub(rest)
	return a.id, err == nil
}

// cutHub cuts the scheme off an address, if it is the hub's.
func cutHub(address string) (rest string, ok bool) {
	scheme, rest, ok := strings.Cut(address, "://")
	return rest, ok && strings.EqualFold(scheme, "hf")
}

// Name returns what the folder or file of an address is called by itself, without a revision.
func Name(address string) string {
	rest, ok := cutHub(Plain(address))
	if ok {
		if a, err := parseHub(rest); err == nil {
			rest = path.Join(a.id, a.file)
		}
	}
	return path.Base(rest)
}

// hubAddress is what hf://org/name@revision/file says.
type hubAddress struct {
	id       string // org/name, or only the name of the first models
	revision string
	file     string // or folder; "" for all
}

func (a hubAddress) String() string {
	s := "hf://" + a.id
	if a.revision != mainRevision {
		s += "@" + a.revision
	}
	if a.file != "" {
		s += "/" + a.file
	}
	return s
}

const mainRevision = "main"

// parseHub reads an address of the hub, of which the scheme is cut off.
func parseHub(rest string) (a hubAddress, err error) {
	refuse := func(what string) (hubAddress, error) {
		return hubAddress{}, fmt.Errorf("%w: hf://%s: %s (hf://org/name, hf://org/name@revision/file)", ErrAddress, rest, what)
	}
	name, after, at := strings.Cut(rest, "@")
	a.revision = mainRevision
	if at {
		if m := hubRefs.FindStringSubmatch(after); m != nil {
			a.revision, a.file = m[1], m[2]
		} else {
			a.revision, a.file, _ = strings.Cut(after, "/")
			if a.revision, err = url.PathUnescape(a.revision); err != nil {
				return refuse("the revision is not escaped as it should be")
			}
		}
		if !revision.MatchString(a.revision) || strings.Contains(a.revision, "..") || len(a.revision) > 256 {
			return refuse("the revision has a form that none has")
		}
	} else if parts := strings.SplitN(name, "/", 3); len(parts) == 3 {
		name, a.file = parts[0]+"/"+parts[1], parts[2]
	}
	a.id = strings.TrimSuffix(name, "/")
	if !isID(a.id) && (!hubPart.MatchString(a.id) || len(a.id) > maxName) {
		return refuse("the name has a form that none has")
	}
	if a.file = strings.TrimSuffix(a.file, "/"); a.file != "" && !validName(a.file) {
		return refuse("the file has no name that one can have")
	}
	return a, nil
}

// validName reports whether a name is one of a file in a folder or below, on every system.
func validName(name string) bool {
	return len(name) <= 1024 && fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "\\\x00") && filepath.IsLocal(filepath.FromSlash(name))
}

// Plain returns an argument without what is secret in it, if it is an address: passwords
// and queries, which can be signatures.
func Plain(name string) string {
	if !IsAddress(name) {
		return name
	}
	u, err := url.Parse(name)
	if err != nil {
		name, _, _ = strings.Cut(name, "?")
		scheme, rest, _ := strings.Cut(name, "://")
		if at := strings.LastIndex(rest, "@"); at >= 0 && !strings.EqualFold(scheme, "hf") {
			rest = rest[at+1:]
		}
		return scheme + "://" + rest
	}
	return plainURL(u)
}

// plainURL returns an address without what is secret in it.
func plainURL(u *url.URL) string {
	plain := *u
	if !strings.EqualFold(u.Scheme, "hf") { // where @ comes before a revision
		plain.User = nil
	}
	plain.RawQuery, plain.ForceQuery, plain.Fragment, plain.RawFragment = "", false, "", ""
	return plain.String()
}

// plainHost returns the scheme and host of an address.
func plainHost(u *url.URL) string { return plainURL(&url.URL{Scheme: u.Scheme, Host: u.Host}) }
