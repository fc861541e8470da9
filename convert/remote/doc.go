// Package remote reads models where they are published: on the Hugging Face Hub, on web
// servers, and in stores that speak S3's language.
//
// A [Client] gives a [files.Folder] for an address, and files of it are read like those of
// a directory: in parts, when and as far as somebody asks for them. What is asked for in
// order is read ahead. Nothing goes to a disk, unless [Options.Keep] has it kept in the
// hub's own cache; what is there already is read from there, in any case.
//
//	client := remote.New(ctx, remote.Options{})
//	folder, name, err := client.Open("hf://mistralai/Mistral-7B-v0.1")
//
// [Client.Commit] puts files into a repository of the hub.
//
// # What can be relied on
//
// A revision of the hub is the commit that it was when the client first saw it, for as long
// as the client is used. Of other files the ETag, or else the time of modification, and the
// size are those of the first answer. What does not fit is an error that wraps
// [files.ErrChanged].
//
// What fails in passing is tried again, ten times with growing pauses of up to half a
// minute, or as long as the server asks for, up to five minutes: lost connections, answers
// that are too short or stop to come, 408, 429, 5xx. Links that the hub gives for a time are
// asked for anew. The context that a client is made with ends everything at once.
//
// A token goes to the hub's own host alone, which HF_ENDPOINT may name, and secret keys of S3 to no
// host at all, since they only sign. Redirects lose the token, from https none leads to
// http, and no error has either, nor the query of an address or a password in it.
//
// Memory: 64 MiB of what was read, and of what is on its way.
//
// # Environment
//
// HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE mean what
// they mean to huggingface_hub; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3,
// AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE what they mean to those of AWS.
// HTTPS_PROXY, HTTP_PROXY and NO_PROXY are followed.
package remote
