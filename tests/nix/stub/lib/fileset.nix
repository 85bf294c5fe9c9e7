# Files of a source by name: whatever is, is below, or leads to one of them.
lib: {
  unions = lib.flatten;
  maybeMissing = path: path;
  toSource =
    { root, fileset }:
    let
      wanted = map toString (lib.toList fileset);
      below = file: directory: file == directory || lib.hasPrefix (directory + "/") file;
    in
    {
      outPath = builtins.path {
        path = root;
        name = "source";
        filter = file: _: builtins.any (name: below file name || below name file) wanted;
      };
    };
}
