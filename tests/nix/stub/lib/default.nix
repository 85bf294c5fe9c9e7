# As much of nixpkgs' lib as the flake uses.
let
  self = builtins // {
    inherit (import ./modules.nix self)
      effective
      evalModules
      evaluated
      literalExpression
      mkAfter
      mkDefault
      mkEnableOption
      mkForce
      mkIf
      mkMerge
      mkOption
      mkPackageOption
      ;
    types = import ./types.nix self;
    fileset = import ./fileset.nix self;

    # Functions
    id = x: x;
    makeOverridable =
      f: args:
      f args
      // {
        override =
          new: self.makeOverridable f (args // (if builtins.isFunction new then new args else new));
      };
    callPackageWith =
      scope: file: args:
      let
        f = if builtins.isFunction file then file else import file;
        wanted = builtins.intersectAttrs (builtins.functionArgs f) scope;
      in
      self.makeOverridable f (wanted // args);

    # Attribute sets
    genAttrs = names: f: builtins.listToAttrs (map (name: self.nameValuePair name (f name)) names);
    nameValuePair = name: value: { inherit name value; };
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    filterAttrs =
      f: set:
      builtins.removeAttrs set (builtins.filter (name: !f name set.${name}) (builtins.attrNames set));
    optionalAttrs = condition: set: if condition then set else { };
    attrByPath =
      path: default: set:
      if path == [ ] then
        set
      else if builtins.isAttrs set && set ? ${builtins.head path} then
        self.attrByPath (builtins.tail path) default set.${builtins.head path}
      else
        default;
    getAttrFromPath =
      path: set: self.attrByPath path (throw "no attribute ${self.showOption path}") set;
    setAttrByPath =
      path: value:
      if path == [ ] then
        value
      else
        { ${builtins.head path} = self.setAttrByPath (builtins.tail path) value; };
    recursiveUpdate =
      a: b:
      a
      // builtins.mapAttrs (
        name: value:
        if builtins.isAttrs value && builtins.isAttrs (a.${name} or null) then
          self.recursiveUpdate a.${name} value
        else
          value
      ) b;
    isDerivation = x: x.type or null == "derivation";

    # Lists
    optional = condition: x: if condition then [ x ] else [ ];
    optionals = condition: list: if condition then list else [ ];
    last = list: builtins.elemAt list (builtins.length list - 1);
    flatten = x: if builtins.isList x then builtins.concatMap self.flatten x else [ x ];
    unique = builtins.foldl' (seen: x: if builtins.elem x seen then seen else seen ++ [ x ]) [ ];
    toList = x: if builtins.isList x then x else [ x ];

    # Strings
    optionalString = condition: text: if condition then text else "";
    concatStrings = builtins.concatStringsSep "";
    concatMapStrings = f: list: builtins.concatStringsSep "" (map f list);
    concatMapStringsSep =
      separator: f: list:
      builtins.concatStringsSep separator (map f list);
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    hasSuffix =
      suffix: text:
      let
        rest = builtins.stringLength text - builtins.stringLength suffix;
      in
      rest >= 0 && builtins.substring rest (-1) text == suffix;
    hasInfix = infix: text: builtins.length (builtins.split (self.escapeRegex infix) text) > 1;
    removeSuffix =
      suffix: text:
      if self.hasSuffix suffix text then
        builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text
      else
        text;
    splitString =
      separator: text:
      builtins.filter builtins.isString (builtins.split (self.escapeRegex separator) text);
    escapeRegex = builtins.replaceStrings (self.characters "\\[{()^$?*+|.") (
      map (c: "\\" + c) (self.characters "\\[{()^$?*+|.")
    );
    characters = text: builtins.genList (i: builtins.substring i 1 text) (builtins.stringLength text);
    showOption = builtins.concatStringsSep ".";
    boolToString = b: if b then "true" else "false";

    # Versions and packages
    versionOlder = a: b: builtins.compareVersions a b < 0;
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    getVersion = package: package.version;
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    getOutput = output: package: package.${output} or package.out or package;
    getLib = self.getOutput "lib";
    getDev = self.getOutput "dev";
    getBin = self.getOutput "bin";
    getExe = package: "${self.getBin package}/bin/${package.meta.mainProgram or package.pname}";
    makeBinPath = self.concatMapStringsSep ":" (package: "${self.getBin package}/bin");
    licenses = self.genAttrs [ "mit" "asl20" ] (spdxId: {
      inherit spdxId;
    });
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
      "armv7l-linux"
    ];
  };
in
self
